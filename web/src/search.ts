/* Does a record contain all the words, in any order and case? */
import type { AuditRecord } from './types'

export function matches(r: AuditRecord, words: string): boolean {
  const text = `${r.kind} ${r.actor ?? ''} ${r.subject ?? ''} ${r.incident ?? ''} ${r.message ?? ''}`.toLowerCase()
  return words.toLowerCase().split(/\s+/).every((w) => text.includes(w))
}
