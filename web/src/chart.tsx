/* The big graph: uPlot fed with what query_range answered, in the page's colours, as wide as its place. */
import { useEffect, useRef } from 'preact/hooks'
import uPlot from 'uplot'
import 'uplot/dist/uPlot.min.css'
import { align } from './chart_data'
import { number } from './format'
import type { PromSeries } from './types'

/* Eight hues of equal weight, told apart also by the colour-blind (after Okabe and Ito, 2008), for each scheme. */
const palette_light = ['#0b6bcb', '#b54708', '#0f7b5f', '#9b3fa8', '#b42318', '#5b6b00', '#0e7490', '#6d4cc2']
const palette_dark = ['#6cb0ff', '#f5a35c', '#4fd1a5', '#e08bea', '#ff8a80', '#c6d44e', '#5fd0e6', '#b39dff']
const dark = () => matchMedia('(prefers-color-scheme: dark)').matches
export const colour = (i: number) => { const p = dark() ? palette_dark : palette_light; return p[i % p.length] }

/* Prefer a round axis that starts at zero where the values allow it. */
function y_range(_u: uPlot, min: number | null, max: number | null): [number, number] {
  if (min === null || max === null) return [0, 1]
  if (min === max) return min === 0 ? [0, 1] : min > 0 ? [0, max * 1.2] : [min * 1.2, 0]
  const low = min >= 0 && min < (max - min) * 2 ? 0 : min - (max - min) * 0.08
  return [low, max + (max - low) * 0.08]
}

const css = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(name).trim()
const HEIGHT = 320

function options(series: PromSeries[], hidden: ReadonlySet<number>, width: number, on_point: (i: number | null) => void): uPlot.Options {
  const axis = { stroke: css('--muted'), grid: { stroke: css('--line'), width: 1 }, ticks: { stroke: css('--line'), width: 1 }, font: '12px system-ui, sans-serif' }
  return {
    width, height: HEIGHT, legend: { show: false },
    cursor: { points: { size: 7 }, drag: { x: false, y: false }, y: false },
    scales: { y: { range: y_range } },
    axes: [{ ...axis, space: 76, values: axis_times }, { ...axis, size: 64, values: (_u, ticks) => ticks.map(number) }],
    series: [{}, ...series.map((_, i) => ({
      stroke: colour(i), width: 1.6, show: !hidden.has(i), spanGaps: false, points: { show: false },
      fill: series.length === 1 ? `${colour(0)}1c` : undefined,
    }))],
    hooks: { setCursor: [(u) => on_point(u.cursor.idx ?? null)] },
  }
}

/* "21:40", with seconds when ticks are closer, with the day when they are farther. */
function axis_times(_u: uPlot, ticks: number[], _axis: number, _space: number, gap_s: number): string[] {
  const two = (n: number) => String(n).padStart(2, '0')
  return ticks.map((t_s) => {
    const d = new Date(t_s * 1000)
    const day = `${two(d.getMonth() + 1)}-${two(d.getDate())}`
    if (gap_s >= 86400) return day
    const time = `${two(d.getHours())}:${two(d.getMinutes())}`
    return gap_s < 60 ? `${time}:${two(d.getSeconds())}` : d.getHours() + d.getMinutes() === 0 ? day : time
  })
}

export interface ChartProps {
  series: PromSeries[]; from_s: number; to_s: number; step_s: number
  hidden: ReadonlySet<number>; label: string; on_point: (i: number | null) => void
}

export function Chart(p: ChartProps) {
  const place = useRef<HTMLDivElement>(null)
  const plot = useRef<uPlot | null>(null)
  const data = useRef<uPlot.AlignedData>([[]])
  data.current = align(p.series, p.from_s, p.to_s, p.step_s) as unknown as uPlot.AlignedData
  const names = p.series.map((s) => JSON.stringify(s.metric)).join()
  useEffect(() => {
    const el = place.current!
    const draw = () => {
      plot.current?.destroy()
      plot.current = new uPlot(options(p.series, p.hidden, el.clientWidth, p.on_point), data.current, el)
    }
    draw()
    const scheme = matchMedia('(prefers-color-scheme: dark)')
    const sized = new ResizeObserver(() => plot.current?.setSize({ width: el.clientWidth, height: HEIGHT }))
    sized.observe(el)
    scheme.addEventListener('change', draw)
    return () => { scheme.removeEventListener('change', draw); sized.disconnect(); plot.current?.destroy(); plot.current = null }
  }, [names, p.hidden])
  useEffect(() => { plot.current?.setData(data.current) }, [p.series]) /* the same lines, newer: no flicker, the cursor stays */
  return <div ref={place} class="chart" role="img" aria-label={p.label} />
}
