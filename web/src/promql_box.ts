/* The PromQL editor (CodeMirror 6 and codemirror-promql): colours, completion from galen's own label and
 * metric names, and the place of a mistake. A chunk of its own: only the query tab loads it.
 *
 * It lives in a shadow root, because there CodeMirror uses constructed style sheets, which the page's
 * Content-Security-Policy allows; in the open document it would need inline <style>. */
import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from '@codemirror/autocomplete'
import { defaultKeymap, history, historyKeymap } from '@codemirror/commands'
import { bracketMatching, HighlightStyle, syntaxHighlighting } from '@codemirror/language'
import { EditorState, Prec } from '@codemirror/state'
import { EditorView, keymap, placeholder } from '@codemirror/view'
import { tags } from '@lezer/highlight'
import { PromQLExtension } from '@prometheus-io/codemirror-promql'

export interface PromqlBox { text(): string; set(text: string): void; focus(): void; destroy(): void }
export interface PromqlBoxOptions { place: HTMLElement; text: string; placeholder: string; label: string; run: (text: string) => void }

const colours = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.modifier], color: 'var(--syn-keyword)' },
  { tag: tags.function(tags.variableName), color: 'var(--syn-function)' },
  { tag: [tags.string, tags.special(tags.string)], color: 'var(--syn-string)' },
  { tag: tags.number, color: 'var(--syn-number)' },
  { tag: tags.labelName, color: 'var(--syn-label)' },
  { tag: tags.invalid, color: 'var(--bad)' },
])

/* Custom properties reach into the shadow root, so one theme serves light and dark. */
const theme = EditorView.theme({
  '&': { backgroundColor: 'var(--card)', color: 'var(--text)', border: '1px solid var(--edge)', borderRadius: '8px', fontSize: '14px' },
  '&.cm-focused': { outline: '2px solid var(--accent)', outlineOffset: '1px' },
  '.cm-content': { fontFamily: 'var(--mono)', padding: '9px 4px', caretColor: 'var(--text)' },
  '.cm-cursor': { borderLeftColor: 'var(--text)' },
  '.cm-placeholder': { color: 'var(--muted)' },
  '.cm-tooltip': { backgroundColor: 'var(--card)', color: 'var(--text)', border: '1px solid var(--edge)', borderRadius: '6px', overflow: 'hidden' },
  '.cm-tooltip-autocomplete ul li[aria-selected]': { backgroundColor: 'var(--accent)', color: 'var(--card)' },
  '.cm-completionDetail': { color: 'inherit', opacity: '0.8', fontStyle: 'normal' },
  '&.cm-focused .cm-matchingBracket': { backgroundColor: 'var(--line)' },
  '.cm-selectionBackground, &.cm-focused .cm-selectionBackground': { backgroundColor: 'var(--line)' },
})

export function open_promql_box(o: PromqlBoxOptions): PromqlBox {
  const root = o.place.shadowRoot ?? o.place.attachShadow({ mode: 'open' })
  const promql = new PromQLExtension().setComplete({ remote: { url: '', httpMethod: 'GET', cache: { maxAge: 60_000 } } })
  const run = Prec.highest(keymap.of([
    { key: 'Enter', run: (v) => { o.run(v.state.doc.toString()); return true } },
    { key: 'Shift-Enter', run: (v) => { v.dispatch(v.state.replaceSelection('\n')); return true } },
  ]))
  /* Enter first accepts an open completion, only then it runs the query. */
  const accept = Prec.highest(keymap.of(completionKeymap))
  const view = new EditorView({
    root,
    parent: root,
    state: EditorState.create({
      doc: o.text,
      extensions: [accept, run, history(), bracketMatching(), closeBrackets(), autocompletion(), promql.asExtension(),
        syntaxHighlighting(colours), theme, EditorView.lineWrapping, placeholder(o.placeholder),
        EditorView.contentAttributes.of({ 'aria-label': o.label, spellcheck: 'false' }),
        keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap])],
    }),
  })
  return {
    text: () => view.state.doc.toString(),
    set: (text) => view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text } }),
    focus: () => view.focus(),
    destroy: () => { view.destroy(); root.replaceChildren() },
  }
}
