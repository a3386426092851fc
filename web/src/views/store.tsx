/* What is remembered: how much, how long, who takes the room, and who was not let in. */
import { usePolled } from '../api'
import { bytes, duration, moment, number } from '../format'
import { t, type Text } from '../i18n'
import { Empty, Loading, Section, State, Trouble } from '../parts'
import { query_link } from '../route'
import type { StoreBlock, StoreReport, TopRow } from '../types'

const POLL_MS = 5000
const BLOCKS_MOST = 50

function Tile({ title, value, note }: { title: string; value: string; note?: string }) {
  return <div class="card tile store-tile"><h3>{title}</h3><div class="tile-value">{value}</div><div class="tile-note muted">{note ?? ''}</div></div>
}

/* A bar beside each number: of the first, which is the largest. */
function Top({ title, rows, format = number, link }: { title: string; rows: TopRow[] | undefined; format?: (v: number) => string; link?: (name: string) => string }) {
  const most = rows?.[0]?.value || 1
  return (
    <article class="card top">
      <h3>{title}</h3>
      {rows?.length ? <ol>{rows.map((r) => (
        <li key={r.name} title={r.name}>
          <span class="mono top-name">{link ? <a href={link(r.name)}>{r.name || '–'}</a> : r.name || '–'}</span>
          <span class="top-value mono">{format(r.value)}</span>
          <span class="top-bar" style={{ width: `${Math.max(1, (100 * r.value) / most)}%` }} aria-hidden="true" />
        </li>))}</ol> : <p class="muted">{t('none')}</p>}
    </article>
  )
}

function Limits({ r }: { r: StoreReport }) {
  const l = r.limits ?? {}
  const rows: [Text, string | null][] = [
    ['store.retention', l.retention_ms ? duration(l.retention_ms / 1000) : null],
    ['store.retention_bytes', l.retention_bytes ? bytes(l.retention_bytes) : null],
    ['store.out_of_order', l.out_of_order_ms ? duration(l.out_of_order_ms / 1000) : null],
    ['store.tier_5m', l.tier_5m_ms ? duration(l.tier_5m_ms / 1000) : null],
    ['store.tier_1h', l.tier_1h_ms ? duration(l.tier_1h_ms / 1000) : null],
    ['store.max_series', l.max_series ? number(l.max_series) : null],
    ['store.max_per_metric', l.max_series_per_metric ? number(l.max_series_per_metric) : null],
    ['store.max_per_target', l.max_series_per_target ? number(l.max_series_per_target) : null],
    ['store.memory', l.memory_bytes ? bytes(l.memory_bytes) : null],
  ]
  return (
    <div class="table-box"><table><tbody>{rows.map(([key, value]) => (
      <tr key={key}><th scope="row">{t(key)}</th><td class="mono">{value ?? <span class="muted">{t('store.unset')}</span>}</td></tr>))}</tbody></table></div>
  )
}

function BlockRow({ b }: { b: StoreBlock }) {
  return (
    <tr>
      <td class="mono">{b.number}{b.damaged && <> <State name={t('store.damaged')} tone="bad" /></>}</td>
      <td class="nowrap mono">{moment(b.min_t_ms)}</td>
      <td class="nowrap">{b.min_t_ms !== null && b.max_t_ms !== null ? duration((b.max_t_ms - b.min_t_ms) / 1000) : '–'}</td>
      <td class="mono">{number(b.series)}</td>
      <td class="mono">{number(b.samples)}</td>
      <td class="mono nowrap">{bytes(b.bytes)}</td>
      <td class="mono">{b.samples ? (b.bytes / b.samples).toFixed(2) : '–'}</td>
      <td class="mono">{b.deleted || ''}</td>
    </tr>
  )
}

export function StoreView() {
  const { data: r, error } = usePolled<StoreReport>('/api/galen/v1/store?limit=10', POLL_MS)
  if (error && !r) return <Trouble error={error} />
  if (!r) return <Loading />
  const blocks = [...(r.blocks ?? [])].reverse()
  const span = r.min_t_ms !== null && r.max_t_ms !== null ? duration((r.max_t_ms - r.min_t_ms) / 1000) : '–'
  const head: Text[] = ['store.block', 'store.from', 'store.span', 'store.series', 'store.samples', 'store.size', 'store.bytes_per_sample', 'store.deleted']
  return (
    <>
      <p class="muted">{t('store.text')}</p>
      <div class="tiles">
        <Tile title={t('store.active')} value={number(r.head.series)} note={t('store.chunks', { n: number(r.head.chunks) })} />
        <Tile title={t('store.kept')} value={number(r.head.samples + r.disk.samples)} note={t('store.spanning', { x: span })} />
        <Tile title={t('store.on_disk')} value={bytes(r.disk.bytes + r.log.bytes)} note={t('store.of_log', { x: bytes(r.log.bytes) })} />
        <Tile title={t('store.bytes_per_sample')} value={r.disk.bytes_per_sample === null ? '–' : r.disk.bytes_per_sample.toFixed(2)} note={t('store.in_blocks', { n: r.disk.blocks })} />
        <Tile title={t('store.retention')} value={r.limits?.retention_ms ? duration(r.limits.retention_ms / 1000) : '–'} note={r.limits?.retention_bytes ? bytes(r.limits.retention_bytes) : ''} />
        <Tile title={t('store.refused')} value={number(r.refused_total)} note={t('store.refused_note')} />
      </div>
      <Section title={t('store.top')} note={t('store.top_note')}>
        <div class="tops">
          <Top title={t('store.by_metric')} rows={r.top.metric} link={(name) => query_link(`{__name__=${JSON.stringify(name)}}`)} />
          <Top title={t('store.by_target')} rows={r.top.target} />
          <Top title={t('store.by_label')} rows={r.top.label_values} />
          <Top title={t('store.by_pair')} rows={r.top.pair} />
        </div>
      </Section>
      <Section title={t('store.limits')} note={t('store.limits_note')}><Limits r={r} /></Section>
      <Section title={t('store.blocks')} note={r.disk.blocks || undefined}>
        {blocks.length ? <div class="table-box"><table><thead><tr>{head.map((h) => <th key={h} scope="col">{t(h)}</th>)}</tr></thead>
          <tbody>{blocks.slice(0, BLOCKS_MOST).map((b) => <BlockRow key={b.number} b={b} />)}</tbody></table></div> : <Empty>{t('store.no_blocks')}</Empty>}
      </Section>
    </>
  )
}
