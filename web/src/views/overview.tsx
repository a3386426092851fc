/* The overview: what is wrong, then the engines, then the host. Everything here comes from one poll a second. */
import { bytes, duration, moment, number, per_second, percent } from '../format'
import { t, word, pick } from '../i18n'
import { Annotations, Empty, Labels, Loading, Mark, Section, Spark, State, Subject, Trouble } from '../parts'
import { reason } from '../reasons'
import { query_link, route_to } from '../route'
import { episode_of, history, HISTORY_S, incident_tone, is_open, overview, overview_error, replica_key, tone_of, verdict, worst_first, type Tone } from '../state'
import type { Alert, Host, Incident, Overview, Replica } from '../types'

const num = (v: unknown): number | null => (typeof v === 'number' ? v : null)
const past = (key: string) => history.value.get(key) ?? []
const age_s = (o: Overview, ms: number | undefined) => (ms && o.now_ms ? Math.max(0, (o.now_ms - ms) / 1000) : null)

/* ---- what is wrong ---- */
const BANDS_MAX = 5 /* more than that is a list, and the list is one click away */

function Verdict({ o }: { o: Overview }) {
  const v = verdict.value!
  if (v.open.length) return <div class="incidents" role="status">
    {v.open.slice(0, BANDS_MAX).map((i) => <IncidentBand key={i.id} o={o} i={i} />)}
    {v.open.length > BANDS_MAX && <a href={route_to('diagnose')}>{t('verdict.more', { n: v.open.length - BANDS_MAX })}</a>}
  </div>
  const parts: string[] = []
  if (v.unwell) parts.push(t('verdict.unwell', { n: v.unwell, m: v.total }))
  if (v.firing) parts.push(v.firing === 1 ? t('verdict.alert') : t('verdict.alerts', { n: v.firing }))
  const title = v.tone === 'ok' ? t('verdict.well') : v.tone === 'idle' ? t('verdict.no_replica') : v.tone === 'bad' ? t('verdict.bad') : t('verdict.look')
  const text = v.tone === 'ok' ? t('verdict.well_text', { n: v.total }) : v.tone === 'idle' ? t('verdict.no_replica_text') : parts.join(' · ')
  return <div class={`band ${v.tone}`} role="status"><Mark tone={v.tone} /><div><strong>{title}</strong><p>{text}</p></div></div>
}

function IncidentBand({ o, i }: { o: Overview; i: Incident }) {
  const healing = episode_of(i, o.heal)
  const tone = incident_tone(i)
  return (
    <a class={`band ${tone}`} href={route_to('diagnose', i.id)}>
      <Mark tone={tone} />
      <div class="grow">
        <strong>{word('cause', i.cause)}</strong> <Subject id={i.subject} /> <span class="muted">{word('conf', i.confidence)}</span>
        <p>{pick(i.summary, i.summary_zh)}</p>
        {healing && <p class="healing"><State name={healing.state} /> <b>{reason(healing.action)}</b> <span class="muted">{reason(healing.reason)}</span></p>}
      </div>
      <div class="age">{t('for', { x: duration(age_s(o, i.opened_ms)) })}</div>
    </a>
  )
}

/* ---- engines ---- */
function Figure({ label, value, strong }: { label: string; value: string; strong?: Tone }) {
  return <div class={`figure ${strong ?? ''}`}><dt>{label}</dt><dd>{value}</dd></div>
}

/* The one line under the name that explains a bad state. */
function trouble_of(r: Replica): string {
  if (r.probe_error && (r.health === 0 || r.completion === 0)) return t('engine.probe_failed', { x: r.probe_error })
  if (r.scrape_error && r.up === 0) return t('engine.scrape_failed', { x: r.scrape_error })
  return ''
}

function EngineCard({ r }: { r: Replica }) {
  const trouble = trouble_of(r)
  const restarts = r.process?.restarts ?? 0
  const tokens = past(replica_key(r.id))
  return (
    <article class={`card engine edge-${tone_of(r.state)}`} aria-label={r.name ?? r.id}>
      <header>
        <h3 title={r.id}>{r.name || r.instance || r.id}</h3>
        <State name={r.state ?? 'unknown'} />
      </header>
      <p class="muted ellipsis" title={`${r.engine ?? ''} ${r.version ?? ''} · ${r.model ?? ''}`}>
        {[r.engine ? `${r.engine} ${r.version ?? ''}`.trim() : '', r.model, r.discovered ? t('engine.found') : ''].filter(Boolean).join(' · ') || r.url}
      </p>
      <div class="engine-spark">
        <Spark lines={[tokens]} span_s={HISTORY_S} label={`${t('engine.tokens')}, ${t('host.last5')}`} />
        <span><b>{number(r.tokens_per_s)}</b>{t('engine.tokens')}</span>
      </div>
      <dl class="figures">
        <Figure label={t('engine.ttft')} value={duration(r.ttft_s)} />
        <Figure label={t('engine.running')} value={number(r.running)} />
        <Figure label={t('engine.waiting')} value={number(r.waiting)} strong={(r.waiting ?? 0) > 0 ? 'warn' : undefined} />
        <Figure label={t('engine.kv')} value={percent(r.kv_cache_ratio)} strong={(r.kv_cache_ratio ?? 0) > 0.95 ? 'warn' : undefined} />
        <Figure label={t('engine.restarts')} value={String(restarts)} strong={restarts ? 'warn' : undefined} />
      </dl>
      <p class="trouble-line ellipsis" title={trouble}>{trouble
        ? <><Mark tone="bad" /> {trouble}</>
        : <span class="muted mono">{r.url ?? r.instance}{r.process?.pid && r.process.pid > 0 ? ` · ${t('engine.pid', { n: r.process.pid })}` : ''}</span>}</p>
    </article>
  )
}

/* ---- host ---- */
interface Tile { title: string; value: string; note: string; keys: string[]; max?: number; level?: number | null }
function tiles(h: Host): Tile[] {
  const mem = num(h.memory_used_bytes), total = num(h.memory_total_bytes)
  const psi = (k: string) => percent(num(h[k]))
  const swap = num(h.swap_used_bytes)
  return [
    { title: t('host.cpu'), value: percent(num(h.cpu_ratio)), note: h.cores ? t('host.cores', { n: number(num(h.cores)) }) : '', keys: ['cpu_ratio'], max: 1, level: num(h.cpu_ratio) },
    { title: t('host.memory'), value: bytes(mem), note: `${t('host.of', { x: bytes(total) })}${swap ? ` · ${t('host.swap', { x: bytes(swap) })}` : ''}`, keys: ['memory_used_bytes'], max: total ?? undefined, level: mem !== null && total ? mem / total : null },
    { title: t('host.load'), value: number(num(h.load1)), note: t('host.loads', { a: number(num(h.load5)), b: number(num(h.load15)) }), keys: ['load1'], level: num(h.load1) !== null && h.cores ? num(h.load1)! / h.cores / 2 : null },
    { title: t('host.disk'), value: per_second(sum(h.disk_read_bytes_per_s, h.disk_write_bytes_per_s)), note: t('host.used', { x: percent(num(h.disk_used_ratio)) }), keys: ['disk_write_bytes_per_s', 'disk_read_bytes_per_s'], level: num(h.disk_used_ratio) },
    { title: t('host.net'), value: per_second(sum(h.net_receive_bytes_per_s, h.net_transmit_bytes_per_s)), note: `↓ ${per_second(num(h.net_receive_bytes_per_s))} ↑ ${per_second(num(h.net_transmit_bytes_per_s))}`, keys: ['net_receive_bytes_per_s', 'net_transmit_bytes_per_s'] },
    { title: t('host.pressure'), value: psi('pressure_cpu_ratio'), note: `${t('host.psi_memory')} ${psi('pressure_memory_ratio')} · ${t('host.psi_io')} ${psi('pressure_io_ratio')}`, keys: ['pressure_cpu_ratio', 'pressure_io_ratio'], level: Math.max(num(h.pressure_memory_ratio) ?? 0, (num(h.pressure_cpu_ratio) ?? 0) / 2) },
  ]
}
const sum = (a: unknown, b: unknown) => (num(a) === null && num(b) === null ? null : (num(a) ?? 0) + (num(b) ?? 0))
const level_tone = (level: number | null | undefined): Tone | '' => (level == null ? '' : level > 0.95 ? 'bad' : level > 0.85 ? 'warn' : '')

function HostTiles({ h }: { h: Host }) {
  if (num(h.cpu_ratio) === null && num(h.memory_total_bytes) === null) return <Empty>{t('host.off')}</Empty>
  return (
    <div class="tiles">
      {tiles(h).map((x) => {
        const expr = h.exprs?.[x.keys[0]]
        const inside = (
          <>
            <h3>{x.title}</h3>
            <div class={`tile-value ${level_tone(x.level)}`} data-vital={x.keys[0]}>{x.value}</div>
            <div class="tile-note muted">{x.note}</div>
            <Spark lines={x.keys.map(past)} span_s={HISTORY_S} max={x.max} label={`${x.title}, ${t('host.last5')}`} />
          </>
        )
        return expr ? <a key={x.keys[0]} class="card tile" href={query_link(expr)} title={t('open_query')}>{inside}</a>
          : <div key={x.keys[0]} class="card tile">{inside}</div>
      })}
    </div>
  )
}

/* ---- alerts, lately closed ---- */
function FiringAlerts({ alerts, o }: { alerts: Alert[]; o: Overview }) {
  return (
    <ul class="rows">
      {alerts.map((a, n) => (
        <li key={n}>
          <State name={a.state} />
          <div class="grow"><a href={route_to('alert')}><b>{a.name}</b></a> <Labels labels={a.labels} without={['alertname', 'job']} />
            <Annotations of={a.annotations} short /></div>
          <span class="age">{t('for', { x: duration(age_s(o, a.active_at_ms)) })}</span>
        </li>
      ))}
    </ul>
  )
}

function LatelyClosed({ incidents }: { incidents: Incident[] }) {
  return (
    <ul class="rows">
      {incidents.map((i) => (
        <li key={i.id}>
          <State name="closed" />
          <div class="grow"><a href={route_to('diagnose', i.id)}><b>{word('cause', i.cause)}</b></a> <Subject id={i.subject} /></div>
          <span class="age">{moment(i.closed_ms)} · {duration(((i.closed_ms ?? 0) - (i.opened_ms ?? 0)) / 1000)}</span>
        </li>
      ))}
    </ul>
  )
}

export function OverviewView() {
  const o = overview.value
  const error = overview_error.value
  if (!o) return error?.status ? <Trouble error={error} /> : <Loading />
  const alerts = (o.alerts ?? []).filter((a) => a.state === 'firing')
  const closed = (o.incidents ?? []).filter((i) => !is_open(i)).slice(0, 5)
  const replicas = o.replicas ?? []
  return (
    <>
      {error && <Trouble error={error} />}
      <Verdict o={o} />
      {replicas.length > 0 && <Section title={t('sec.engines')} note={replicas.length}>
        <div class="engines">{worst_first(replicas).map((r) => <EngineCard key={r.id} r={r} />)}</div>
      </Section>}
      <Section title={t('sec.host')} note={`${String(o.host?.name ?? '')} · ${t('host.last5')}`} id="host"><HostTiles h={o.host ?? {}} /></Section>
      {(alerts.length > 0 || closed.length > 0) && <div class="columns">
        {alerts.length > 0 && <Section title={t('sec.alerts')} note={alerts.length}><FiringAlerts alerts={alerts} o={o} /></Section>}
        {closed.length > 0 && <Section title={t('sec.recent')}><LatelyClosed incidents={closed} /></Section>}
      </div>}
      <footer class="own muted">{t('own.line', {
        v: o.version ?? '', up: duration(o.uptime_s), rss: bytes(o.own?.rss_bytes), cpu: percent(o.own?.cpu_ratio),
        series: number(o.own?.series), rate: number(o.own?.samples_per_s),
      })}</footer>
    </>
  )
}
