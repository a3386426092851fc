/* The address bar is the page's only memory of where we are: #/tab[/id][?key=value…]. */
import { signal } from '@preact/signals'

export const TABS = ['overview', 'watch', 'store', 'query', 'alert', 'diagnose', 'heal', 'audit'] as const
export type Tab = (typeof TABS)[number]
export interface Route { tab: Tab; id: string; params: Record<string, string> }

export function parse_route(hash: string): Route {
  const [path, search = ''] = hash.replace(/^#\/?/, '').split(/\?(.*)/s)
  const slash = path.indexOf('/')
  const name = slash < 0 ? path : path.slice(0, slash)
  const tab = (TABS as readonly string[]).includes(name) ? (name as Tab) : 'overview'
  return { tab, id: slash < 0 ? '' : safe_decode(path.slice(slash + 1)), params: Object.fromEntries(new URLSearchParams(search)) }
}

function safe_decode(text: string): string {
  try { return decodeURIComponent(text) } catch { return text }
}

export function route_to(tab: Tab, id = '', params: Record<string, string> = {}): string {
  const search = new URLSearchParams(Object.entries(params).filter(([, v]) => v !== '')).toString()
  return `#/${tab}${id ? '/' + encodeURIComponent(id) : ''}${search ? '?' + search : ''}`
}

export const query_link = (expr: string, range = '15m') => route_to('query', '', { expr, range })

export const route = signal<Route>(parse_route(typeof location === 'undefined' ? '' : location.hash))
if (typeof window !== 'undefined')
  window.addEventListener('hashchange', () => { route.value = parse_route(location.hash) })
