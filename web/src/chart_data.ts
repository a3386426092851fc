/* From what query_range answers to what uPlot draws. */
import type { PromSeries } from './types'

/* All series on one grid of times; a step without a sample is a gap. */
export function align(series: PromSeries[], from_s: number, to_s: number, step_s: number): (number | null)[][] {
  const n = Math.floor((to_s - from_s) / step_s + 1e-9) + 1
  const times = Array.from({ length: n }, (_, i) => from_s + i * step_s)
  const rows = series.map((s) => {
    const row: (number | null)[] = new Array(n).fill(null)
    for (const [t_s, text] of s.values ?? []) {
      const i = Math.round((t_s - from_s) / step_s)
      const v = Number(text)
      if (i >= 0 && i < n && Number.isFinite(v)) row[i] = v
    }
    return row
  })
  return [times, ...rows]
}
