/* The small parts every tab is made of. */
import type { ComponentChildren } from 'preact'
import type { ApiError } from './api'
import { pick, t, word } from './i18n'
import { subject_parts } from './format'
import { tone_of, type Point, type Tone } from './state'

/* Colour never speaks alone: each tone has its own shape beside the word. */
const shapes: Record<Tone, string> = { ok: '●', warn: '▲', bad: '■', busy: '◐', idle: '○' }
export const Mark = ({ tone }: { tone: Tone }) => <span class={`mark ${tone}`} aria-hidden="true">{shapes[tone]}</span>

export function State({ name, group = 'state', tone }: { name: string | undefined; group?: 'state' | 'conf' | 'mode'; tone?: Tone }) {
  const look = tone ?? tone_of(name)
  return <span class={`pill ${look}`}><Mark tone={look} />{word(group, name)}</span>
}

export function Section({ title, note, children, id }: { title: string; note?: ComponentChildren; children: ComponentChildren; id?: string }) {
  return (
    <section id={id} aria-label={title}>
      <header class="section-head"><h2>{title}</h2>{note !== undefined && <span class="muted">{note}</span>}</header>
      {children}
    </section>
  )
}

export const Empty = ({ children }: { children: ComponentChildren }) => <p class="empty">{children}</p>

export function Trouble({ error }: { error: ApiError }) {
  if (error.status === 0) return null /* the banner on top says it */
  return (
    <div class="trouble" role="alert">
      <Mark tone="bad" /> {t('failed', { x: error.message })}
      {error.hint && <div class="muted">{t('hint', { x: error.hint })}</div>}
    </div>
  )
}

/* While the first answer is on its way. */
export const Loading = () => <p class="empty" role="status">{t('loading')}</p>

export function Subject({ id }: { id: string | undefined }) {
  if (!id) return <span class="muted">–</span>
  const [kind, name] = subject_parts(id)
  return <span class="subject" title={id}>{kind && <span class="muted">{word('kind', kind)} </span>}<span class="mono">{name}</span></span>
}

export function Labels({ labels, without = [] }: { labels: Record<string, string> | undefined; without?: string[] }) {
  return <>{Object.entries(labels ?? {}).filter(([k]) => !without.includes(k)).map(([k, v]) =>
    <span key={k} class="label mono">{k}=<b>{v}</b></span>)}</>
}

/* What a rule says to people: summary and description in the reader's language, any other annotation by its name. */
export function Annotations({ of, short = false }: { of: Record<string, string> | undefined; short?: boolean }) {
  const a = of ?? {}
  const main = [pick(a.summary, a.summary_zh), pick(a.description, a.description_zh)].filter(Boolean)
  const rest = Object.entries(a).filter(([k]) => !/^(summary|description)(_zh)?$/.test(k))
  return <>
    {(short ? main.slice(0, 1) : main).map((text) => <div key={text} class="muted">{text}</div>)}
    {!short && rest.map(([k, v]) => <div key={k} class="muted">{k}: {v}</div>)}
  </>
}

/* A curve of the last minutes. `max` fixes the top (1 for ratios), else the highest point does. Several lines
 * share one scale. Pure SVG in a 100 x 30 box that stretches. */
export const SPARK_W = 100
export const SPARK_H = 30
export function spark_path(points: readonly Point[], from_s: number, to_s: number, max: number): string {
  let d = ''
  let before = -Infinity
  for (const p of points) {
    if (p.t_s < from_s) continue
    const x = ((p.t_s - from_s) / (to_s - from_s)) * SPARK_W
    const y = SPARK_H - 1 - (max > 0 ? Math.min(Math.max(p.v, 0) / max, 1) : 0) * (SPARK_H - 3)
    d += `${p.t_s - before > 20 ? 'M' : 'L'}${x.toFixed(1)} ${y.toFixed(1)}`  /* a gap stays a gap */
    before = p.t_s
  }
  return d
}

export function Spark({ lines, span_s, max, label }: { lines: (readonly Point[])[]; span_s: number; max?: number; label: string }) {
  const to = Math.max(...lines.map((l) => l[l.length - 1]?.t_s ?? 0))
  const top = max ?? Math.max(1e-9, ...lines.flatMap((l) => l.map((p) => p.v))) * 1.1
  return (
    <svg class="spark" viewBox={`0 0 ${SPARK_W} ${SPARK_H}`} preserveAspectRatio="none" role="img" aria-label={label}>
      {lines.map((l, i) => {
        const d = spark_path(l, to - span_s, to, top)
        const start = l.find((p) => p.t_s >= to - span_s)
        const x0 = start ? ((start.t_s - (to - span_s)) / span_s) * SPARK_W : 0
        return (
          <g key={i} class={`line${i}`}>
            {i === 0 && d && d.indexOf('M', 1) < 0 && <path class="area" d={`${d}L${SPARK_W} ${SPARK_H}L${x0.toFixed(1)} ${SPARK_H}Z`} />}
            {d && <path class="stroke" d={d} />}
          </g>
        )
      })}
    </svg>
  )
}
