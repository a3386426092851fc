#include "base/fuzz.h"
#include "store/remote/rqueue_inside.h"

static void on_series(void *ctx, uint32_t number, labels l) { *(size_t *)ctx += number + l.len; }
static void on_row(void *ctx, const rqueue_row *r) { *(size_t *)ctx += r->series + r->message.len; }
static void on_exemplar(void *ctx, uint32_t series, const exemplar *x) { *(size_t *)ctx += series + x->labels.len; }

/* Records as a disk gives them back; and payloads whose checksum fits, which is where the reading is. */
FUZZ(input)
{
    size_t sum = 0;
    rqueue_events to = { .series = on_series, .row = on_row, .exemplar = on_exemplar, .ctx = &sum };
    (void)rqueue_parse(input, &to);
    if (input.len < 2)
        return;
    rqueue_record r = { .type = (uint8_t)input.ptr[0] % 5, .rows = (uint8_t)input.ptr[1], .payload = str_skip(input, 2) };
    (void)rqueue_deliver(&r, &to);
}
