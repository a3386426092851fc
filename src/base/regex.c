#include "base/regex.h"
#include "base/cxx.h"
#include "base/regex_shape.h"

struct regex { void *re; bool anchored; regex_shape shape; /* of an anchored one */ };

/* RE2 knows \C (one byte), Go's regexp does not: a pattern that Prometheus refuses must not work here. */
static bool has_byte_class(str p)
{
    for (size_t i = 0; i + 1 < p.len; i++)
        if (p.ptr[i] == '\\') {
            if (p.ptr[i + 1] == 'C')
                return true;
            i++;
        }
    return false;
}

err_kind regex_compile(str pattern, bool anchored, regex **ret, err *e)
{
    if (pattern.len > REGEX_MAX_LEN)
        return err_set(e, ERR_LIMIT, "regular expression longer than %d bytes", REGEX_MAX_LEN);
    if (has_byte_class(pattern))
        return err_set(e, ERR_PARSE, "invalid escape sequence: `\\C`");
    regex *r = mem_alloc(sizeof *r);
    if (!r)
        return err_nomem(e);
    char why[160] = "";
    bool too_large;
    r->anchored = anchored;
    r->re = cxx_regex_new(pattern.ptr ? pattern.ptr : "", pattern.len, why, sizeof why, &too_large);
    if (r->re) {
        r->shape = (regex_shape){ 0 };
        if (anchored)
            regex_shape_of(pattern, &r->shape);
        return *ret = r, OK;
    }
    mem_free(r);
    return err_set(e, too_large ? ERR_LIMIT : ERR_PARSE, "%s", why);
}

void regex_free(regex *r)
{
    if (!r)
        return;
    cxx_regex_free(r->re);
    regex_shape_done(&r->shape);
    mem_free(r);
}

void regex_freep(regex **r)
{
    regex_free(*r);
    *r = NULL;
}

bool regex_match(const regex *r, str text)
{
    int known = r->anchored ? regex_shape_match(&r->shape, text) : -1;
    return known >= 0 ? known : cxx_regex_match(r->re, text.ptr, text.len, r->anchored, NULL, 0);
}

size_t regex_set(const regex *r, const str **ret)
{
    *ret = r->shape.set;
    return r->shape.set_len;
}

str regex_prefix(const regex *r) { return r->shape.prefix; }

bool regex_groups(const regex *r, str text, str *ret_groups, size_t n)
{
    return cxx_regex_match(r->re, text.ptr, text.len, r->anchored, ret_groups, MIN(n, regex_group_count(r) + 1));
}

size_t regex_group_count(const regex *r) { return MIN(cxx_regex_groups(r->re), (size_t)REGEX_MAX_GROUPS); }
int regex_group_by_name(const regex *r, str name) { return cxx_regex_group_by_name(r->re, name.ptr ? name.ptr : "", name.len); }

static bool is_word(char c) { return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

/* The name behind a '$': "1", "name" or "{name}". Returns the bytes it takes, 0 if it is no reference. */
static size_t reference(str t, str *ret_name)
{
    bool braced = t.len && t.ptr[0] == '{';
    size_t n = braced ? 1 : 0, from = n;
    while (n < t.len && is_word(t.ptr[n]))
        n++;
    *ret_name = str_sub(t, from, n - from);
    if (n == from || (braced && (n == t.len || t.ptr[n] != '}')))
        return 0;
    return braced ? n + 1 : n;
}

err_kind regex_expand(const regex *r, str t, const str *groups, size_t n, buf *out)
{
    while (t.len) {
        ptrdiff_t dollar = str_find_char(t, '$');
        if (dollar < 0)
            return buf_append(out, t);
        buf_append(out, str_sub(t, 0, (size_t)dollar));
        t = str_skip(t, (size_t)dollar + 1);
        str name;
        size_t used = reference(t, &name);
        uint64_t number;
        if (t.len && t.ptr[0] == '$') {
            buf_append_char(out, '$');
            used = 1;
        } else if (!used) {
            buf_append_char(out, '$'); /* malformed: Go keeps the dollar */
        } else if (str_to_u64(name, &number)) {
            if (number < n)
                buf_append(out, groups[number]);
        } else {
            int group = regex_group_by_name(r, name);
            if (group >= 0 && (size_t)group < n)
                buf_append(out, groups[group]);
        }
        t = str_skip(t, used);
    }
    return out->failed;
}
