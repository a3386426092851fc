/* The PromQL box: ask, see the graph, read the values. The question lives in the address, so it can be sent on. */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { ApiError, poll, query_range } from '../api'
import { Chart, colour } from '../chart'
import { clock, duration, number, parse_duration, sample, series_name } from '../format'
import { lang, t, type Text } from '../i18n'
import { Empty, Trouble } from '../parts'
import type { PromqlBox } from '../promql_box'
import { query_link, route, route_to } from '../route'
import type { PromSeries } from '../types'

const RANGES = ['5m', '15m', '1h', '6h', '1d', '7d']
const POINTS = 300          /* about one a three pixels on a laptop */
const DRAWN_MAX = 40        /* more lines than this are a carpet, not a graph */
const LIVE_MAX_S = 3600     /* longer ranges move too slowly to ask again */

const examples: [Text, string][] = [
  ['query.ex.cpu', 'sum by (cpu) (rate(node_cpu_seconds_total{mode!="idle"}[10s]))'],
  ['query.ex.mem', '1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes'],
  ['query.ex.tokens', 'sum by (instance) (rate(llm_generation_tokens_total[1m]))'],
  ['query.ex.queue', 'llm_requests_waiting'],
  ['query.ex.ttft', 'probe_ttft_seconds'],
  ['query.ex.progress', 'watch_progress_age_seconds'],
]

interface Answer { series: PromSeries[]; from_s: number; to_s: number; step_s: number; took_s: number }

async function ask(expr: string, range_s: number, signal: AbortSignal): Promise<Answer> {
  const step_s = Math.max(1, Math.ceil(range_s / POINTS))
  const to_s = Math.floor(Date.now() / 1000 / step_s) * step_s
  const from_s = to_s - Math.floor(range_s / step_s) * step_s
  const begun = performance.now()
  const series = await query_range(expr, from_s, to_s, step_s, signal)
  return { series, from_s, to_s, step_s, took_s: (performance.now() - begun) / 1000 }
}

/* A plain text area first; the editor takes its place once its chunk is here (and never, if it cannot load). */
function Box({ text, run }: { text: string; run: (text: string) => void }) {
  const place = useRef<HTMLDivElement>(null)
  const box = useRef<PromqlBox | null>(null)
  const plain = useRef<HTMLTextAreaElement>(null)
  const latest = useRef(run)
  const [ready, set_ready] = useState(false)
  latest.current = run
  useEffect(() => {
    let gone = false
    import('../promql_box').then((m) => {
      if (gone || !place.current) return
      const typed = plain.current?.value ?? text
      box.current = m.open_promql_box({ place: place.current, text: typed, placeholder: t('query.placeholder'), label: t('query.label'), run: (x) => latest.current(x) })
      if (document.activeElement === plain.current) box.current.focus()
      set_ready(true)
    }).catch(() => {})
    return () => { gone = true; box.current?.destroy(); box.current = null; set_ready(false) }
  }, [lang.value])
  useEffect(() => {
    if (plain.current) plain.current.value = text
    if (box.current && box.current.text() !== text) box.current.set(text)
  }, [text])
  const key = (e: KeyboardEvent) => { if (e.key === 'Enter' && !e.shiftKey) { e.preventDefault(); run(plain.current!.value) } }
  return (
    <form class="bar ask" onSubmit={(e) => { e.preventDefault(); run(box.current?.text() ?? plain.current?.value ?? '') }}>
      <div class="grow">
        {!ready && <textarea ref={plain} rows={1} defaultValue={text} spellcheck={false} placeholder={t('query.placeholder')} aria-label={t('query.label')} onKeyDown={key} />}
        <div ref={place} class="editor" />
      </div>
      <button class="primary" type="submit">{t('query.run')}</button>
    </form>
  )
}

function Values({ answer, drawn, point, hidden, toggle }: { answer: Answer; drawn: PromSeries[]; point: number | null; hidden: ReadonlySet<number>; toggle: (i: number) => void }) {
  /* A series that has ended has no value now, whatever it said last. */
  const at_s = answer.from_s + (point ?? Math.round((answer.to_s - answer.from_s) / answer.step_s)) * answer.step_s
  const value = (s: PromSeries) => {
    const found = s.values?.find(([t_s]) => Math.abs(t_s - at_s) < answer.step_s / 2)
    return found ? sample(found[1]) : '–'
  }
  return (
    <div class="table-box"><table class="values">
      <thead><tr><th scope="col">{t('query.table')}</th><th scope="col" class="right">{point === null ? t('query.now') : clock(at_s * 1000)}</th></tr></thead>
      <tbody>{answer.series.map((s, i) => (
        <tr key={i} class={hidden.has(i) ? 'hidden-series' : ''}>
          <td class="wrap-anywhere">
            {i < drawn.length
              ? <button class="series" aria-pressed={!hidden.has(i)} onClick={() => toggle(i)}><i ref={(el) => { if (el) el.style.background = colour(i) }} /> <span class="mono">{series_name(s.metric)}</span></button>
              : <span class="mono">{series_name(s.metric)}</span>}
          </td>
          <td class="right mono">{value(s)}</td>
        </tr>))}
      </tbody>
    </table></div>
  )
}

export function QueryView() {
  const { expr = '', range = '15m' } = route.value.params
  const parsed = parse_duration(range)
  const range_s = parsed >= 10 ? parsed : 900 /* also when it is no duration */
  const [answer, set_answer] = useState<Answer | null>(null)
  const [error, set_error] = useState<ApiError | null>(null)
  const [hidden, set_hidden] = useState<ReadonlySet<number>>(new Set())
  const [point, set_point] = useState<number | null>(null)
  const [live, set_live] = useState(true)
  const [round, set_round] = useState(0)
  const go = (e: string, r: string) => { location.hash = route_to('query', '', { expr: e.trim(), range: r }); set_round((n) => n + 1) }

  useEffect(() => { set_hidden(new Set()); set_answer(null); set_error(null) }, [expr])
  useEffect(() => {
    if (!expr) return
    const moving = live && range_s <= LIVE_MAX_S
    let stop = () => {}
    stop = poll(async (s) => {
      try {
        const a = await ask(expr, range_s, s)
        if (!s.aborted) { set_answer(a); set_error(null) }
      } catch (e) {
        if (!s.aborted && e instanceof ApiError) { set_error(e); if (e.status) stop() } /* a wrong question stays wrong */
      }
      if (!moving) stop()
    }, range_s <= 900 ? 1000 : 5000)
    return stop
  }, [expr, range_s, live, round])

  const drawn = useMemo(() => answer?.series.slice(0, DRAWN_MAX) ?? [], [answer])
  const toggle = (i: number) => set_hidden((old) => { const next = new Set(old); if (!next.delete(i)) next.add(i); return next })

  return (
    <section aria-label={t('tab.query')}>
      <Box text={expr} run={(text) => go(text, range)} />
      <div class="bar">
        <div class="ranges" role="group" aria-label={t('query.range')}>
          {RANGES.map((r) => <button key={r} aria-pressed={r === range} onClick={() => go(expr, r)}>{r}</button>)}
        </div>
        <label class="check"><input type="checkbox" checked={live} onChange={(e) => set_live(e.currentTarget.checked)} disabled={range_s > LIVE_MAX_S} /> {t('query.live')}</label>
        {answer && <span class="muted">{t('query.took', { n: number(answer.series.length), x: duration(answer.took_s) })}</span>}
        <span class="muted keys">{t('query.keys')}</span>
      </div>
      {!expr && <div class="examples"><p class="muted">{t('query.start')}</p>
        <ul>{examples.map(([text, e]) => <li key={e}><a class="card" href={query_link(e)}><b>{t(text)}</b><code>{e}</code></a></li>)}</ul></div>}
      {error && <Trouble error={error} />}
      {answer && !error && (answer.series.length === 0 ? <Empty>{t('query.empty')}</Empty> : (
        <>
          <div class="card graph"><Chart series={drawn} from_s={answer.from_s} to_s={answer.to_s} step_s={answer.step_s} hidden={hidden} label={t('query.chart', { x: expr })} on_point={set_point} /></div>
          {answer.series.length > drawn.length && <p class="muted">{t('query.more', { n: answer.series.length - drawn.length })}</p>}
          <Values answer={answer} drawn={drawn} point={point} hidden={hidden} toggle={toggle} />
        </>))}
      {expr && !answer && !error && <Empty>{t('loading')}</Empty>}
    </section>
  )
}
