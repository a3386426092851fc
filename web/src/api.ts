/* Asking galen: one fetch with a deadline, and polls that rest while nobody looks.
 *
 * Relative addresses only: the page asks nobody but the galen that served it. */
import { signal } from '@preact/signals'
import { useEffect, useState } from 'preact/hooks'
import type { PromResult, PromSeries } from './types'

export const REQUEST_TIMEOUT_MS = 8000

export class ApiError extends Error {
  hint: string
  status: number
  constructor(message: string, hint: string, status: number) {
    super(message)
    this.hint = hint
    this.status = status
  }
}

/* When galen last answered anything, and since when it has not (0: it does). */
export const last_answer_ms = signal(0)
export const silent_since_ms = signal(0)

function answered() {
  last_answer_ms.value = Date.now()
  if (silent_since_ms.peek()) silent_since_ms.value = 0
}

/* GET `path` as JSON. Throws ApiError with galen's own words; a network failure has status 0. */
export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  const deadline = AbortSignal.timeout(REQUEST_TIMEOUT_MS)
  let res: Response
  try {
    res = await fetch(path, { signal: signal ? AbortSignal.any([signal, deadline]) : deadline, headers: { accept: 'application/json' } })
  } catch (e) {
    if (signal?.aborted) throw e
    if (!silent_since_ms.peek()) silent_since_ms.value = Date.now()
    throw new ApiError('galen does not answer', '', 0)
  }
  answered()
  const body = await res.json().catch(() => null)
  if (!res.ok || body === null)
    throw new ApiError(body?.error ?? `HTTP ${res.status}`, body?.hint ?? '', res.status)
  return body as T
}

/* Prometheus's envelope around what get() brings. */
export async function prom<T>(path: string, params: Record<string, string>, signal?: AbortSignal): Promise<T> {
  const body = await get<{ status?: string; data: T; error?: string }>(`/api/v1/${path}?${new URLSearchParams(params)}`, signal)
  return body.data
}

export async function query_range(expr: string, from_s: number, to_s: number, step_s: number, signal?: AbortSignal): Promise<PromSeries[]> {
  const data = await prom<PromResult>('query_range', { query: expr, start: String(from_s), end: String(to_s), step: String(step_s) }, signal)
  return (data?.result ?? []) as PromSeries[]
}

/* Call `run` now and every `every_ms` after it has ended, not while the page is hidden. Returns the stop. */
export function poll(run: (signal: AbortSignal) => Promise<void>, every_ms: number): () => void {
  const stop = new AbortController()
  let timer = 0
  let busy = false
  const round = async () => {
    if (busy || stop.signal.aborted || document.hidden) return
    busy = true
    clearTimeout(timer)
    await run(stop.signal).catch(() => {})
    busy = false
    if (!stop.signal.aborted) timer = window.setTimeout(round, every_ms)
  }
  const seen = () => { if (!document.hidden) void round() }
  document.addEventListener('visibilitychange', seen)
  void round()
  return () => {
    stop.abort()
    clearTimeout(timer)
    document.removeEventListener('visibilitychange', seen)
  }
}

export interface Polled<T> { data: T | null; error: ApiError | null }

/* A view's data: the last good answer stays on screen while a later one fails. */
export function usePolled<T>(path: string, every_ms: number): Polled<T> {
  const [state, set] = useState<Polled<T>>({ data: null, error: null })
  useEffect(() => {
    set({ data: null, error: null })
    return poll(async (s) => {
      try {
        const data = await get<T>(path, s)
        set({ data, error: null })
      } catch (e) {
        if (!s.aborted) set((old) => ({ data: old.data, error: e as ApiError }))
      }
    }, every_ms)
  }, [path, every_ms])
  return state
}
