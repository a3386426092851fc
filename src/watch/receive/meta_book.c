#include "watch/receive/meta_book.h"

struct meta_entry {
    metric_type type;
    uint32_t family_len, help_len, unit_len;
    char text[]; /* family, help, unit */
};

void meta_book_done(meta_book *b)
{
    for (size_t i = 0; i < b->entries.len; i++)
        mem_free(b->entries.at[i]);
    vec_done(&b->entries);
    map_done(&b->families);
}

size_t meta_book_len(const meta_book *b) { return b->entries.len; }

static exposition_meta view(const meta_entry *m)
{
    return (exposition_meta){ .family = str_of(m->text, m->family_len),
                              .help = str_of(m->text + m->family_len, m->help_len),
                              .unit = str_of(m->text + m->family_len + m->help_len, m->unit_len),
                              .type = m->type };
}

exposition_meta meta_book_at(const meta_book *b, size_t i) { return view(b->entries.at[i]); }

static str bounded(str s)
{
    s = str_sub(s, 0, META_TEXT_MAX);
    while (s.len && !str_utf8_valid(s))
        s.len--; /* a character cut in two, or bytes that are no text */
    return s;
}

static char *put_text(char *at, str s)
{
    if (s.len)
        memcpy(at, s.ptr, s.len);
    return at + s.len;
}

static meta_entry *entry_new(exposition_meta m)
{
    meta_entry *entry = mem_alloc(sizeof *entry + m.family.len + m.help.len + m.unit.len);
    if (!entry)
        return NULL;
    *entry = (meta_entry){ m.type, (uint32_t)m.family.len, (uint32_t)m.help.len, (uint32_t)m.unit.len };
    put_text(put_text(put_text(entry->text, m.family), m.help), m.unit);
    return entry;
}

static bool same(exposition_meta a, exposition_meta b)
{
    return a.type == b.type && str_eq(a.help, b.help) && str_eq(a.unit, b.unit);
}

/* Without memory, or beyond the book's last page, it stays as it is. */
static void add(meta_book *b, exposition_meta m)
{
    meta_entry *entry = b->entries.len < META_BOOK_MAX ? entry_new(m) : NULL;
    if (!entry)
        return;
    if (vec_push(&b->entries, entry)) {
        mem_free(entry);
        return;
    }
    if (map_set(&b->families, m.family, (void *)(uintptr_t)b->entries.len))
        mem_free(vec_pop(&b->entries));
}

void meta_book_put(meta_book *b, const exposition_meta *told)
{
    exposition_meta m = { told->family, bounded(told->help), bounded(told->unit), told->type };
    if (!m.family.len || m.family.len > META_TEXT_MAX || !str_utf8_valid(m.family))
        return;
    size_t known = (size_t)(uintptr_t)map_get(&b->families, m.family);
    if (!known) {
        add(b, m);
        return;
    }
    meta_entry **old = &b->entries.at[known - 1];
    meta_entry *entry = same(view(*old), m) ? NULL : entry_new(m);
    if (!entry)
        return;
    mem_free(*old);
    *old = entry;
}
