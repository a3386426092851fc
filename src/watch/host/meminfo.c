/* watch/host/meminfo.c - /proc/meminfo: every line is a series, node_memory_<key>_bytes.
 *
 * "Active(anon):  123 kB" becomes node_memory_Active_anon_bytes 125952; a line without a unit is a count of
 * pages (HugePages_Total) and gets no _bytes. */
#include "watch/host/collector.h"

#define KEY_MAX 64

/* "Active(anon):" without the punctuation: "Active_anon". */
static str plain_key(str key, char out[KEY_MAX])
{
    size_t len = 0;
    for (size_t i = 0; i < key.len && len < KEY_MAX; i++) {
        if (key.ptr[i] == '(')
            out[len++] = '_';
        else if (key.ptr[i] != ')' && key.ptr[i] != ':')
            out[len++] = key.ptr[i];
    }
    return str_of(out, len);
}

bool collect_meminfo(host_scan *s, const char *arg, str text)
{
    char plain[KEY_MAX];
    str line, key, unit;
    double v;
    bool any = false;
    while (str_split(&text, '\n', &line)) {
        if (!next_word(&line, &key) || !next_number(&line, &v))
            continue;
        bool kilobytes = next_word(&line, &unit) && str_is(unit, "kB");
        emit_put(s->out, (emit_name){ "node_memory_", plain_key(key, plain), kilobytes ? "_bytes" : NULL }, NULL, 0,
                 kilobytes ? v * 1024 : v);
        any = true;
    }
    return any;
}
