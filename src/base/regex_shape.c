#include "base/regex_shape.h"
#include <stdlib.h>

#define SHAPE_MAX_BYTES (1u << 20)
#define SHAPE_MAX_DEPTH 16

typedef struct texts { str *at; size_t len; } texts;
typedef struct scan { str p; size_t at; arena *a; int depth; } scan;

static bool is_special(char c) { return memchr("\\.+*?()|[]{}^$", c, 14) != NULL; }
static bool is_repeat(char c) { return c == '*' || c == '+' || c == '?' || c == '{'; }
static bool at_end(const scan *s) { return s->at == s->p.len; }
static char peek(const scan *s) { return s->p.ptr[s->at]; }

/* One literal character, perhaps behind a backslash. False if here is none. A repeat behind it makes it none. */
static bool literal(const scan *s, char *ret, size_t *ret_used)
{
    size_t left = s->p.len - s->at, used = 1;
    if (left == 0)
        return false;
    char c = peek(s);
    if (c == '\\') { /* \. and its like; \d or \x41 mean something else */
        if (left < 2 || !is_special(s->p.ptr[s->at + 1]))
            return false;
        c = s->p.ptr[s->at + 1];
        used = 2;
    } else if (is_special(c)) {
        return false;
    }
    /* A repeat means the whole character, of which this may be a byte. */
    size_t end = used;
    while ((c & 0x80) && left > end && (s->p.ptr[s->at + end] & 0xc0) == 0x80)
        end++;
    if (left > end && is_repeat(s->p.ptr[s->at + end]))
        return false;
    *ret = c;
    *ret_used = used;
    return true;
}

/* Each of `left` with each of `right` behind it. */
static bool product(arena *a, texts left, texts right, texts *ret)
{
    size_t n = left.len * right.len;
    if (n > REGEX_SET_MAX)
        return false;
    texts all = { arena_array(a, str, n + 1), 0 };
    if (!all.at)
        return false;
    for (size_t i = 0; i < left.len; i++)
        for (size_t j = 0; j < right.len; j++) {
            str joined = arena_printf(a, "%" STR_FMT "%" STR_FMT, STR_ARG(left.at[i]), STR_ARG(right.at[j]));
            if (!joined.ptr)
                return false;
            all.at[all.len++] = joined;
        }
    *ret = all;
    return true;
}

static bool alternatives(scan *s, texts *ret);

/* A run of literals, or a group. */
static bool piece(scan *s, texts *ret)
{
    if (peek(s) == '(') {
        s->at++;
        if (s->p.len - s->at >= 2 && memcmp(s->p.ptr + s->at, "?:", 2) == 0)
            s->at += 2;
        if (!alternatives(s, ret) || at_end(s) || peek(s) != ')')
            return false;
        s->at++;
        return at_end(s) || !is_repeat(peek(s));
    }
    char *run = arena_alloc(s->a, s->p.len - s->at + 1);
    str *one = arena_new(s->a, str);
    size_t n = 0, used;
    if (!run || !one)
        return false;
    for (; literal(s, &run[n], &used); s->at += used)
        n++;
    *one = str_of(run, n);
    *ret = (texts){ one, 1 };
    return n > 0;
}

/* sequence = piece* */
static bool sequence(scan *s, texts *ret)
{
    static str nothing[] = { { "", 0 } };
    texts all = { nothing, 1 };
    while (!at_end(s) && peek(s) != '|' && peek(s) != ')') {
        texts more;
        if (!piece(s, &more) || !product(s->a, all, more, &all))
            return false;
    }
    *ret = all;
    return true;
}

/* alternatives = sequence { '|' sequence } */
static bool alternatives(scan *s, texts *ret)
{
    texts all = { arena_array(s->a, str, REGEX_SET_MAX), 0 }, more;
    if (!all.at || ++s->depth > SHAPE_MAX_DEPTH)
        return false;
    do {
        if (!sequence(s, &more) || all.len + more.len > REGEX_SET_MAX)
            return false;
        memcpy(all.at + all.len, more.at, more.len * sizeof *more.at);
        all.len += more.len;
    } while (!at_end(s) && peek(s) == '|' && ++s->at);
    s->depth--;
    *ret = all;
    return true;
}

static int by_text(const void *a, const void *b) { return str_cmp(*(const str *)a, *(const str *)b); }

static bool find_set(regex_shape *shape, str pattern)
{
    scan s = { pattern, 0, &shape->arena, 0 };
    texts all;
    if (!alternatives(&s, &all) || !at_end(&s))
        return false;
    qsort(all.at, all.len, sizeof *all.at, by_text);
    size_t kept = 0;
    for (size_t i = 0; i < all.len; i++)
        if (i == 0 || !str_eq(all.at[i], all.at[kept - 1]))
            all.at[kept++] = all.at[i];
    shape->set = all.at;
    shape->set_len = kept;
    return true;
}

/* Does a '|' stand outside of all groups and classes? Then no prefix holds for all. Doubt counts as yes. */
static bool has_choice(str p)
{
    for (size_t i = 0, depth = 0; i < p.len; i++) {
        char c = p.ptr[i];
        if (c == '\\')
            i++;
        else if (c == '[')
            return true;
        else if (c == '(')
            depth++;
        else if (c == ')')
            depth -= depth > 0;
        else if (c == '|' && depth == 0)
            return true;
    }
    return false;
}

static void find_prefix(regex_shape *shape, str pattern)
{
    scan s = { pattern, 0, &shape->arena, 0 };
    char *run = arena_alloc(s.a, pattern.len + 1);
    size_t n = 0, used;
    if (!run || has_choice(pattern))
        return;
    for (; literal(&s, &run[n], &used); s.at += used)
        n++;
    shape->prefix = str_of(run, n);
    str rest = str_skip(pattern, s.at);
    shape->prefix_any = str_eq(rest, STR(".*"));
    shape->prefix_some = str_eq(rest, STR(".+"));
}

void regex_shape_of(str pattern, regex_shape *ret)
{
    *ret = (regex_shape){ .arena = ARENA_INIT(SHAPE_MAX_BYTES) };
    if (!find_set(ret, pattern)) {
        arena_reset(&ret->arena);
        find_prefix(ret, pattern);
    }
}

void regex_shape_done(regex_shape *s) { arena_done(&s->arena); }

static bool in_set(const regex_shape *s, str text)
{
    size_t low = 0, high = s->set_len;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int order = str_cmp(s->set[mid], text);
        if (order == 0)
            return true;
        if (order < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return false;
}

int regex_shape_match(const regex_shape *s, str text)
{
    if (s->set_len)
        return in_set(s, text);
    if (s->prefix.len && !str_starts(text, s->prefix))
        return 0;
    if (s->prefix_any)
        return 1;
    return s->prefix_some ? text.len > s->prefix.len : -1;
}
