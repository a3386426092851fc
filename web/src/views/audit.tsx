/* The record: newest first, filtered by kind at galen and by words here. */
import { useState } from 'preact/hooks'
import { usePolled } from '../api'
import { moment } from '../format'
import { t } from '../i18n'
import { Empty, Loading, Subject, Trouble } from '../parts'
import { route_to } from '../route'
import { matches } from '../search'
import type { AuditRecord } from '../types'

const PAGE = 200
const MOST = 10_000 /* AUDIT_LIST_MAX */
const rooms = ['audit', 'watch', 'alert', 'diagnose', 'heal', 'config', 'galen']

function evidence_text(data: unknown): string {
  return data === null || data === undefined || data === '' ? '' : typeof data === 'string' ? data : JSON.stringify(data, null, 2)
}

function Row({ r }: { r: AuditRecord }) {
  const data = evidence_text(r.data)
  return (
    <tr>
      <td class="mono muted">{r.seq}</td>
      <td class="nowrap mono">{moment(r.t_ms)}</td>
      <td><span class={`label room-${r.kind.split('.')[0]}`}>{r.kind}</span></td>
      <td>{r.actor}</td>
      <td>{r.subject ? <Subject id={r.subject} /> : ''}{r.incident && <div><a href={route_to('diagnose', r.incident)}>{r.incident}</a></div>}</td>
      <td class="wrap-anywhere">{r.message}{data && <details><summary>{t('audit.data')}</summary><pre>{data}</pre></details>}</td>
    </tr>
  )
}

export function AuditView() {
  const [kind, set_kind] = useState('')
  const [words, set_words] = useState('')
  const [limit, set_limit] = useState(PAGE)
  const { data, error } = usePolled<{ records?: AuditRecord[] }>(`/api/galen/v1/audit?${new URLSearchParams({ limit: String(limit), ...(kind && { kind }) })}`, 5000)
  const records = data?.records ?? []
  const shown = records.filter((r) => matches(r, words))
  const head = ['#', t('time'), t('audit.kind'), t('audit.actor'), t('subject'), t('message')]
  return (
    <section aria-label={t('tab.audit')}>
      <p class="muted">{t('audit.text')}</p>
      <form class="bar" role="search" onSubmit={(e) => e.preventDefault()}>
        <input type="search" placeholder={t('audit.search')} aria-label={t('audit.search')} value={words} onInput={(e) => set_words(e.currentTarget.value)} />
        <label>{t('audit.kind')} <select value={kind} onChange={(e) => { set_kind(e.currentTarget.value); set_limit(PAGE) }}>
          <option value="">{t('audit.all')}</option>{rooms.map((r) => <option key={r} value={`${r}.`}>{r}</option>)}</select></label>
        <span class="muted">{t('audit.count', { n: shown.length })}</span>
      </form>
      {error && !data ? <Trouble error={error} /> : !data ? <Loading /> : shown.length ? (
        <div class="table-box"><table><thead><tr>{head.map((h) => <th key={h} scope="col">{h}</th>)}</tr></thead>
          <tbody>{shown.map((r) => <Row key={r.seq} r={r} />)}</tbody></table></div>) : <Empty>{t('audit.none')}</Empty>}
      {records.length >= limit && limit < MOST && <p><button onClick={() => set_limit(Math.min(limit * 3, MOST))}>{t('audit.more')}</button></p>}
    </section>
  )
}
