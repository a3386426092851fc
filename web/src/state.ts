/* What every tab shares: the overview, polled each second, the vitals' short history for the sparklines,
 * and the verdict, the one sentence somebody woken at 3am reads first. */
import { computed, signal } from '@preact/signals'
import { ApiError, get, poll, query_range } from './api'
import type { Episode, Incident, Overview, Replica } from './types'

export const OVERVIEW_EVERY_MS = 1000
export const HISTORY_S = 300

export const overview = signal<Overview | null>(null)
export const overview_error = signal<ApiError | null>(null) /* galen answered, but not with an overview */

/* ---- short histories: points per key, not older than HISTORY_S ---- */
export interface Point { t_s: number; v: number }
export const history = signal<ReadonlyMap<string, Point[]>>(new Map())

/* Old points go, the new one comes; out of order or missing values change nothing. */
export function push_point(points: readonly Point[], t_s: number, v: unknown): Point[] {
  const kept = points.filter((p) => p.t_s > t_s - HISTORY_S)
  if (typeof v === 'number' && Number.isFinite(v) && (kept.length === 0 || kept[kept.length - 1].t_s < t_s)) kept.push({ t_s, v })
  return kept
}

export const replica_key = (id: string) => `tokens ${id}`

function remember(o: Overview) {
  const t_s = (o.now_ms ?? Date.now()) / 1000
  const next = new Map(history.peek())
  const add = (key: string, v: unknown) => next.set(key, push_point(next.get(key) ?? [], t_s, v))
  for (const [key, v] of Object.entries(o.host ?? {})) if (typeof v === 'number') add(key, v)
  for (const r of o.replicas ?? []) add(replica_key(r.id), r.tokens_per_s)
  history.value = next
}

/* The five minutes before the page was opened, asked once of the store with the same expressions. */
async function recall(o: Overview) {
  const to = Math.floor((o.now_ms ?? Date.now()) / 1000)
  const past = new Map<string, Point[]>()
  const points = (values: [number, string][] | undefined) =>
    (values ?? []).map(([t_s, v]) => ({ t_s, v: Number(v) })).filter((p) => Number.isFinite(p.v))
  const drawn = ['cpu_ratio', 'memory_used_bytes', 'load1', 'disk_read_bytes_per_s', 'disk_write_bytes_per_s',
    'net_receive_bytes_per_s', 'net_transmit_bytes_per_s', 'pressure_cpu_ratio', 'pressure_memory_ratio', 'pressure_io_ratio']
  const asks = drawn.filter((k) => o.host?.exprs?.[k]).map(async (key) => {
    const [series] = await query_range(o.host!.exprs![key], to - HISTORY_S, to, 2)
    past.set(key, points(series?.values))
  })
  const tokens = o.host?.exprs?.replica_tokens_per_s
  if (tokens && o.replicas?.length) asks.push((async () => {
    for (const s of await query_range(tokens, to - HISTORY_S, to, 2)) {
      const r = o.replicas!.find((x) => x.job === s.metric.job && x.instance === s.metric.instance)
      if (r) past.set(replica_key(r.id), points(s.values))
    }
  })())
  await Promise.allSettled(asks)
  const next = new Map(history.peek())
  for (const [key, old] of past) {
    const live = next.get(key) ?? []
    const first = live[0]?.t_s ?? Infinity
    next.set(key, [...old.filter((p) => p.t_s < first), ...live])
  }
  history.value = next
}

let recalled_ms = 0
export function start_overview(): () => void {
  return poll(async (s) => {
    const o = await get<Overview>('/api/galen/v1/overview', s).catch((e) => {
      if (e instanceof ApiError) overview_error.value = e
      throw e
    })
    overview_error.value = null
    const gap_ms = (o.now_ms ?? 0) - (overview.peek()?.now_ms ?? 0)
    overview.value = o
    remember(o)
    if (gap_ms > 10_000 && Date.now() - recalled_ms > 10_000) { /* first answer, or back from a hidden tab */
      recalled_ms = Date.now()
      void recall(o)
    }
  }, OVERVIEW_EVERY_MS)
}

/* ---- the verdict ---- */
export type Tone = 'ok' | 'warn' | 'bad' | 'busy' | 'idle'
const tones: Record<string, Tone> = {
  healthy: 'ok', up: 'ok', done: 'ok', closed: 'idle', inactive: 'idle', unknown: 'idle', cancelled: 'idle',
  suspect: 'warn', saturated: 'warn', pending: 'warn', waiting: 'warn', suggested: 'warn',
  stalled: 'bad', dead: 'bad', frozen: 'bad', firing: 'bad', down: 'bad', open: 'bad', needs_human: 'bad',
  acting: 'busy', verifying: 'busy', starting: 'busy',
}
export const tone_of = (state: string | undefined): Tone => tones[(state ?? '').replace(/[ -]/g, '_')] ?? 'idle'

export const is_open = (i: Incident) => !i.closed_ms
export const incident_tone = (i: Incident): Tone =>
  !is_open(i) ? 'idle' : i.cause === 'saturated' || i.cause === 'inconclusive' ? 'warn' : 'bad'
export const episode_of = (i: Incident, heal: Episode[] | undefined) => heal?.find((e) => e.incident === i.id)
export const is_unwell = (r: Replica) => !['healthy', 'unknown', undefined].includes(r.state)

/* The worst first; among equals the order stays, so cards do not jump about. */
const rank = (tone: Tone) => ({ bad: 0, warn: 1, busy: 2, ok: 2, idle: 2 })[tone]
export const worst_first = (replicas: Replica[]) => [...replicas].sort((a, b) => rank(tone_of(a.state)) - rank(tone_of(b.state)))

export interface Verdict { tone: Tone; open: Incident[]; firing: number; unwell: number; total: number }
export function judge(o: Overview): Verdict {
  const open = (o.incidents ?? []).filter(is_open).sort((a, b) => rank(incident_tone(a)) - rank(incident_tone(b)))
  const firing = (o.alerts ?? []).filter((a) => a.state === 'firing').length
  const replicas = o.replicas ?? []
  const unwell = replicas.filter(is_unwell).length
  const bad = open.some((i) => incident_tone(i) === 'bad') || replicas.some((r) => tone_of(r.state) === 'bad')
  const tone: Tone = bad ? 'bad' : open.length || firing || unwell ? 'warn' : replicas.length ? 'ok' : 'idle'
  return { tone, open, firing, unwell, total: replicas.length }
}
export const verdict = computed<Verdict | null>(() => (overview.value ? judge(overview.value) : null))
