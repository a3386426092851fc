/* Who is watched: replicas with all that is known of them, and the scrape targets. */
import { usePolled } from '../api'
import { duration, moment } from '../format'
import { t, word } from '../i18n'
import { Empty, Labels, Loading, Section, State, Trouble } from '../parts'
import { query_link } from '../route'
import { overview, overview_error } from '../state'
import type { Replica } from '../types'

interface Target {
  labels?: Record<string, string>; scrapePool?: string; scrapeUrl?: string; lastError?: string; lastScrape?: string
  lastScrapeDuration?: number; health?: string
}

const probe_word = (v: number | undefined) => (v === 1 ? '✓' : v === 0 ? '✗' : '–')

function ReplicaRow({ r }: { r: Replica }) {
  const p = r.process
  const selector = `{job="${r.job ?? ''}",instance="${r.instance ?? ''}"}`
  const error = r.probe_error || r.scrape_error
  return (
    <tr>
      <td><State name={r.state ?? 'unknown'} /></td>
      <td><b>{r.name || r.instance}</b><div class="muted mono">{r.url ?? r.instance}</div>{r.discovered && <span class="label">{t('engine.found')}</span>}</td>
      <td>{r.engine || '–'} <span class="muted">{r.version}</span><div class="muted">{r.model}</div></td>
      <td>{p?.state && p.state !== 'none' ? <>{word('state', p.state)} <span class="muted">{p.pid && p.pid > 0 ? t('engine.pid', { n: p.pid }) : ''}</span>
        <div class="muted">{p.start_ms ? t('since', { x: moment(p.start_ms) }) : ''}{p.restarts ? ` · ${p.restarts} ${t('engine.restarts')}` : ''}</div></> : <span class="muted">{t('watch.not_supervised')}</span>}</td>
      <td><span class="nowrap">{t('watch.probe_health')} {probe_word(r.health)}</span> <span class="nowrap">{t('watch.probe_completion')} {probe_word(r.completion)}</span>
        <div class="muted">{t('engine.ttft')} {duration(r.ttft_s)}</div></td>
      <td><a href={query_link(`watch_progress_age_seconds${selector}`)}>{word('state', r.progress || undefined)}</a></td>
      <td class="wrap-anywhere">{error ? <span class="bad-text">{error}</span> : '–'}</td>
    </tr>
  )
}

function Replicas() {
  const rows = overview.value?.replicas
  if (!rows) return overview_error.value?.status ? <Trouble error={overview_error.value} /> : <Loading />
  if (!rows.length) return <Empty>{t('watch.none')} {t('verdict.no_replica_text')}</Empty>
  const head = [t('state'), t('name'), t('watch.engine'), t('watch.process'), t('watch.probes'), t('watch.progress'), t('watch.error')]
  return <div class="table-box"><table><thead><tr>{head.map((h) => <th key={h} scope="col">{h}</th>)}</tr></thead>
    <tbody>{rows.map((r) => <ReplicaRow key={r.id} r={r} />)}</tbody></table></div>
}

function Targets() {
  const { data, error } = usePolled<{ data: { activeTargets?: Target[] } }>('/api/v1/targets?state=active', 5000)
  if (error && !data) return <Trouble error={error} />
  if (!data) return <Loading />
  const targets = data.data?.activeTargets ?? []
  if (!targets.length) return <Empty>{t('watch.no_targets')}</Empty>
  const head = [t('state'), t('watch.pool'), t('watch.endpoint'), t('alert.labels'), t('watch.last'), t('watch.took'), t('watch.error')]
  return (
    <div class="table-box"><table><thead><tr>{head.map((h) => <th key={h} scope="col">{h}</th>)}</tr></thead>
      <tbody>{targets.map((x, n) => (
        <tr key={n}>
          <td><State name={x.health === 'up' || x.health === 'down' ? x.health : 'unknown'} /></td>
          <td>{x.scrapePool}</td>
          <td class="mono wrap-anywhere">{x.scrapeUrl}</td>
          <td><Labels labels={x.labels} /></td>
          <td class="nowrap">{moment(Date.parse(x.lastScrape ?? ''))}</td>
          <td class="nowrap">{x.lastScrapeDuration === undefined ? '–' : duration(x.lastScrapeDuration)}</td>
          <td class="wrap-anywhere">{x.lastError ? <span class="bad-text">{x.lastError}</span> : '–'}</td>
        </tr>))}
      </tbody></table></div>
  )
}

export function WatchView() {
  return (
    <>
      <Section title={t('watch.replicas')} note={t('watch.replicas_text')}><Replicas /></Section>
      <Section title={t('watch.targets')} note={t('watch.targets_text')}><Targets /></Section>
    </>
  )
}
