/* What people must be told: alerts that are pending or firing now, and the rules behind them. */
import { usePolled } from '../api'
import { duration, number } from '../format'
import { t } from '../i18n'
import { Annotations, Empty, Labels, Loading, Mark, Section, State, Trouble } from '../parts'
import { query_link } from '../route'
import { tone_of } from '../state'

interface PromAlert { labels?: Record<string, string>; annotations?: Record<string, string>; state?: string; activeAt?: string; value?: string }
interface Rule {
  name?: string; query?: string; duration?: number; type?: string; state?: string; health?: string; lastError?: string
  labels?: Record<string, string>; alerts?: PromAlert[]
}
interface Group { name?: string; file?: string; interval?: number; rules?: Rule[] }

function AlertRow({ a }: { a: PromAlert }) {
  const active_ms = Date.parse(a.activeAt ?? '')
  return (
    <li>
      <State name={a.state} />
      <div class="grow"><b>{a.labels?.alertname}</b> <Labels labels={a.labels} without={['alertname']} />
        <Annotations of={a.annotations} /></div>
      <span class="age">{t('value')} {number(a.value === undefined ? null : Number(a.value))} · {t('for', { x: duration((Date.now() - active_ms) / 1000) })}</span>
    </li>
  )
}

function RuleRow({ r }: { r: Rule }) {
  const recording = r.type === 'recording'
  return (
    <tr>
      <td>{recording ? <span class="pill idle"><Mark tone="idle" />{t('alert.recording')}</span> : <State name={r.state ?? 'inactive'} tone={tone_of(r.state ?? 'inactive')} />}</td>
      <td><b>{r.name}</b> <div><Labels labels={r.labels} /></div></td>
      <td class="wrap-anywhere"><a class="mono" href={query_link(r.query ?? '')}>{r.query}</a>
        {r.lastError && <div class="bad-text">{r.lastError}</div>}</td>
      <td class="nowrap">{recording || !r.duration ? '–' : t('alert.hold', { x: duration(r.duration) })}</td>
    </tr>
  )
}

function Rules() {
  const { data, error } = usePolled<{ data: { groups?: Group[] } }>('/api/v1/rules', 5000)
  if (error && !data) return <Trouble error={error} />
  if (!data) return <Loading />
  const groups = data.data?.groups ?? []
  if (!groups.length) return <Empty>{t('alert.no_rules')}</Empty>
  return <>{groups.map((g) => (
    <div key={`${g.file} ${g.name}`} class="group">
      <h3>{g.name} <span class="muted">{t('alert.every', { x: duration(g.interval) })} · <span class="mono">{g.file}</span></span></h3>
      <div class="table-box"><table>
        <thead><tr>{[t('state'), t('name'), t('alert.expr'), ''].map((h, n) => <th key={n} scope="col">{h}</th>)}</tr></thead>
        <tbody>{(g.rules ?? []).map((r, n) => <RuleRow key={n} r={r} />)}</tbody>
      </table></div>
    </div>))}</>
}

export function AlertView() {
  const { data, error } = usePolled<{ data: { alerts?: PromAlert[] } }>('/api/v1/alerts', 5000)
  const alerts = [...(data?.data?.alerts ?? [])].sort((a, b) => (a.state ?? '').localeCompare(b.state ?? ''))
  return (
    <>
      <Section title={t('alert.active')} note={alerts.length || undefined}>
        {error && !data ? <Trouble error={error} /> : !data ? <Loading /> : alerts.length
          ? <ul class="rows card">{alerts.map((a, n) => <AlertRow key={n} a={a} />)}</ul> : <Empty>{t('alert.none')}</Empty>}
      </Section>
      <Section title={t('alert.rules')}><Rules /></Section>
    </>
  )
}
