/* metric/exposition_fuzz.c - any bytes as a page, in each format. Text is read twice: the second time with what the first
 * has taught (series expected, comments known), and must say the same. */
#include "base/fuzz.h"
#include "metric/metric.h"

static void read_text(str input, bool openmetrics)
{
    exposition_parser *first = exposition_new(input, openmetrics), *p = exposition_new(input, openmetrics),
                      *again = exposition_new(input, openmetrics);
    exposition_line a, b;
    exposition_sample s;
    exemplar x;
    int more;
    AUTO(arena_done) arena scratch = arena_init(1u << 20);
    size_t n;
    if (first && p && again) {
        while (exposition_next(first, &s, NULL) == 1)
            (void)labels_hash(s.labels);
        const uint64_t *hashes = exposition_comment_hashes(first, &n);
        exposition_know_comments(again, hashes, n);
        do {
            more = exposition_next_line(p, &a, NULL);
            exposition_expect(again, more == 1 ? a.series : STR_EMPTY);
            int same = exposition_next_line(again, &b, NULL);
            assert(same == more);
            assert(more != 1 ||
                   (str_eq(a.series, b.series) && memcmp(&a.v, &b.v, sizeof a.v) == 0 && a.t_ms == b.t_ms));
            for (unsigned i = 0; more == 1 && i < b.exemplars; i++)
                (void)exposition_exemplar(again, i, &scratch, &x, NULL);
        } while (more == 1);
    }
    exposition_free(first);
    exposition_free(p);
    exposition_free(again);
}

static void read_protobuf(str input, bool classic)
{
    AUTO(arena_done) arena a = arena_init(64u << 20);
    exposition_parser *p = exposition_open(input, EXPOSITION_PROTOBUF, &a);
    exposition_line line;
    labels l;
    exemplar x;
    if (p)
        exposition_want(p, true, classic);
    while (p && exposition_next_line(p, &line, NULL) == 1) {
        if (!exposition_labels(p, &l, NULL, NULL))
            assert(labels_name(l).len);
        for (unsigned i = 0; i < line.exemplars; i++)
            (void)exposition_exemplar(p, i, &a, &x, NULL);
    }
    exposition_free(p);
}

FUZZ(input)
{
    read_text(input, false);
    read_text(input, true);
    read_protobuf(input, false);
    read_protobuf(input, true);
}
