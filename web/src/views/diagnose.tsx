/* Incidents, and one incident's story: symptom -> evidence -> cause -> action -> outcome, then every record of it. */
import { usePolled } from '../api'
import { duration, moment, clock, number } from '../format'
import { lang, pick, t, word } from '../i18n'
import { Empty, Loading, Mark, Section, State, Subject, Trouble } from '../parts'
import { reason } from '../reasons'
import { query_link, route, route_to } from '../route'
import { episode_of, incident_tone, is_open, overview, tone_of, type Tone } from '../state'
import type { AuditRecord, Evidence, Incident } from '../types'

const lasted_s = (i: Incident) => ((i.closed_ms || overview.value?.now_ms || Date.now()) - (i.opened_ms ?? 0)) / 1000

function IncidentRow({ i }: { i: Incident }) {
  const tone = incident_tone(i)
  return (
    <li>
      <a class="row-link" href={route_to('diagnose', i.id)}>
        <State name={is_open(i) ? 'open' : 'closed'} tone={tone} />
        <div class="grow"><b>{word('cause', i.cause)}</b> <Subject id={i.subject} /> <span class="muted">{word('conf', i.confidence)}</span>
          <div class="muted">{pick(i.summary, i.summary_zh)}</div></div>
        <span class="age">{moment(i.opened_ms)} · {duration(lasted_s(i))}</span>
      </a>
    </li>
  )
}

function IncidentList() {
  const { data, error } = usePolled<{ incidents?: Incident[] }>('/api/galen/v1/incidents', 5000)
  if (error && !data) return <Trouble error={error} />
  if (!data) return <Loading />
  const all = data.incidents ?? []
  const lists: [string, string, Incident[]][] = [
    [t('diag.open'), t('diag.none_open'), all.filter(is_open)],
    [t('diag.closed'), t('diag.none_closed'), all.filter((i) => !is_open(i))],
  ]
  return <>{lists.map(([title, none, rows]) => (
    <Section key={title} title={title} note={rows.length || undefined}>
      {rows.length ? <ul class="rows card">{rows.map((i) => <IncidentRow key={i.id} i={i} />)}</ul> : <Empty>{none}</Empty>}
    </Section>))}</>
}

/* ---- one incident ---- */
function EvidenceRow({ e }: { e: Evidence }) {
  return (
    <li class={e.holds ? 'holds' : 'holds-not'}>
      <span class="verdict-mark" aria-hidden="true">{e.holds ? '✓' : '✗'}</span>
      <div class="grow">
        <div>{pick(e.text, e.text_zh) || e.symptom.replace(/_/g, ' ')}</div>
        <div class="muted">
          {e.holds ? t('diag.holds') : t('diag.not')} · {t('diag.measured', { x: e.value == null ? t('diag.nothing') : number(e.value) })}
          {e.expr && <> · <a href={query_link(e.expr)}>{t('run_again')}</a></>}
        </div>
        {e.expr && <code class="expr">{e.expr}</code>}
      </div>
    </li>
  )
}

const room_of = (kind: string) => kind.split('.')[0]
const record_tone = (r: AuditRecord): Tone =>
  /fail|need|escalat|dead|died|exit|firing|opened/.test(r.kind) ? 'bad'
    : /recover|verified|done|closed|resolved/.test(r.kind) ? 'ok' : /heal|action|intend|run|restart/.test(r.kind) ? 'busy' : 'idle'

function Timeline({ records, from_ms }: { records: AuditRecord[]; from_ms: number }) {
  return (
    <ol class="timeline">
      {records.map((r) => (
        <li key={r.seq}>
          <Mark tone={record_tone(r)} />
          <span class="when mono" title={moment(r.t_ms)}>{clock(r.t_ms)}<span class="muted"> {r.t_ms >= from_ms ? '+' : ''}{duration((r.t_ms - from_ms) / 1000)}</span></span>
          <div class="grow"><span class={`label room-${room_of(r.kind)}`}>{r.kind}</span> {r.message} <span class="muted">{r.actor}</span></div>
        </li>))}
    </ol>
  )
}

interface Step { title: string; tone: Tone; body: preact.JSX.Element | string }
function Story({ i, records }: { i: Incident; records: AuditRecord[] }) {
  const episode = episode_of(i, overview.value?.heal)
  const acts = records.filter((r) => room_of(r.kind) === 'heal')
  const last_act = acts[acts.length - 1]
  const shown = (i.evidence ?? []).filter((e) => e.holds)
  const steps: Step[] = [
    { title: t('diag.symptoms'), tone: shown.length ? incident_tone({ ...i, closed_ms: 0 }) : 'idle',
      body: shown.map((e) => pick(e.text, e.text_zh) || e.symptom).slice(0, 5).join(lang.value === 'zh' ? '；' : '; ') || t('diag.no_evidence') },
    { title: t('diag.cause'), tone: incident_tone({ ...i, closed_ms: 0 }),
      body: <><b>{word('cause', i.cause)}</b> <span class="muted">{word('conf', i.confidence)}</span></> },
    { title: t('diag.action'), tone: i.act === false ? 'idle' : episode ? tone_of(episode.state) : last_act ? 'busy' : 'idle',
      body: i.act === false ? t('diag.hands_off') : episode ? <><b>{reason(episode.action)}</b> <State name={episode.state} /> <span class="muted">{reason(episode.reason)}</span></> : last_act?.message || t('diag.no_action') },
    { title: t('diag.outcome'), tone: is_open(i) ? 'busy' : 'ok',
      body: is_open(i) ? t('diag.pending') : t('diag.recovered', { x: duration(lasted_s(i)) }) },
  ]
  return (
    <ol class="story">
      {steps.map((s) => <li key={s.title} class={`card edge-${s.tone}`}><h3><Mark tone={s.tone} /> {s.title}</h3><div>{s.body}</div></li>)}
    </ol>
  )
}

function IncidentPage({ id }: { id: string }) {
  const { data, error } = usePolled<Incident & { incident?: Incident }>(`/api/galen/v1/incidents/${encodeURIComponent(id)}`, 2000)
  const back = <p><a href={route_to('diagnose')}>← {t('diag.back')}</a></p>
  if (error && !data) return <>{back}{error.status === 404 ? <Empty>{t('diag.gone')}</Empty> : <Trouble error={error} />}</>
  if (!data) return <>{back}<Loading /></>
  const i: Incident = data.incident ? { ...data.incident, timeline: data.timeline ?? data.incident.timeline } : data
  const records = [...(i.timeline ?? [])].sort((a, b) => a.seq - b.seq)
  const evidence = [...(i.evidence ?? [])].sort((a, b) => Number(b.holds ?? false) - Number(a.holds ?? false))
  return (
    <>
      {back}
      <div class={`band ${is_open(i) ? incident_tone(i) : 'idle'}`}>
        <Mark tone={incident_tone(i)} />
        <div class="grow"><h1>{word('cause', i.cause)}</h1> <Subject id={i.subject} /> <State group="conf" name={i.confidence} tone="idle" />
          <p>{pick(i.summary, i.summary_zh)}</p>
          <p class="muted">{t('diag.opened', { x: moment(i.opened_ms) })} · {is_open(i) ? t('for', { x: duration(lasted_s(i)) })
            : <>{t('diag.closed_at', { x: moment(i.closed_ms) })} · {t('diag.lasted', { x: duration(lasted_s(i)) })}</>} · <span class="mono">{i.id}</span></p></div>
      </div>
      <Story i={i} records={records} />
      <div class="columns wide-left">
        <Section title={t('diag.symptoms')} note={evidence.length || undefined}>
          {evidence.length ? <ul class="evidence card">{evidence.map((e, n) => <EvidenceRow key={n} e={e} />)}</ul> : <Empty>{t('diag.no_evidence')}</Empty>}
        </Section>
        <Section title={t('diag.timeline')} note={records.length || undefined}>
          {records.length ? <Timeline records={records} from_ms={i.opened_ms ?? records[0].t_ms} /> : <Empty>{t('none')}</Empty>}
        </Section>
      </div>
    </>
  )
}

export function DiagnoseView() {
  const { id } = route.value
  return id ? <IncidentPage key={id} id={id} /> : <IncidentList />
}
