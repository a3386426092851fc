/* Does the payload of a record follow its format, down to the last sample? */
#include "store/exemplars.h"
#include "store/histogram_chunk.h"
#include "store/wal.h"

#define CHECK_HISTOGRAM_BYTES ((size_t)256 << 20)

static bool series_valid(wire_cursor c)
{
    label at[LABELS_MAX];
    uint64_t id;
    size_t n;
    bool bad;
    while (wal_next_series(&c, &id, at, &n, &bad))
        ;
    return !bad;
}

static bool floats_valid(wire_cursor c)
{
    wal_before before = { 0 };
    wal_row row;
    bool bad;
    while (wal_next_row(&c, &before, &row, &bad))
        ;
    return !bad;
}

static bool histograms_valid(wire_cursor c)
{
    AUTO(arena_done) arena a = ARENA_INIT(CHECK_HISTOGRAM_BYTES);
    wal_before before = { 0 };
    wal_row row;
    bool bad;
    while (wal_next_key(&c, &before, &row, &bad)) {
        histogram *h;
        arena_reset(&a);
        if (histogram_get(&c, &a, &h) || histogram_check(h, NULL))
            return false;
    }
    return !bad;
}

static bool rows_valid(wire_cursor c)
{
    wire_cursor rows;
    uint8_t kind;
    bool bad;
    while (wal_next_section(&c, &kind, &rows, &bad)) {
        bool floats = kind == WAL_FLOATS || kind == WAL_LATE_FLOATS;
        if (!floats && kind != WAL_HISTOGRAMS && kind != WAL_LATE_HISTOGRAMS)
            return false;
        if (!(floats ? floats_valid(rows) : histograms_valid(rows)))
            return false;
    }
    return !bad;
}

static bool chunk_valid(const wal_chunk *x)
{
    AUTO(arena_done) arena a = ARENA_INIT(CHECK_HISTOGRAM_BYTES);
    sample_vec floats = { 0 };
    histogram_vec histograms = { 0 };
    err_kind k = ERR_CORRUPT;
    if (x->kind == CHUNK_XOR)
        k = chunk_decode(x->bytes, x->count, INT64_MIN, INT64_MAX, &floats);
    if (x->kind == CHUNK_HISTOGRAM)
        k = histogram_chunk_decode(x->bytes, x->count, INT64_MIN, INT64_MAX, &a, &histograms);
    vec_done(&floats);
    vec_done(&histograms);
    return !k && x->place <= WAL_CHUNK_LATE;
}

static bool chunks_valid(wire_cursor c)
{
    uint64_t id, n;
    int64_t cut_t_ms;
    bool bad;
    while (wal_next_chunks(&c, &id, &cut_t_ms, &n, &bad))
        for (uint64_t i = 0; i < n; i++) {
            wal_chunk x;
            if (!wal_next_chunk(&c, &x) || !chunk_valid(&x))
                return false;
        }
    return !bad;
}

static bool exemplars_valid(wire_cursor c)
{
    label whose[LABELS_MAX], own[LABELS_MAX];
    exemplar_row row;
    bool bad;
    while (exemplar_log_next(&c, whose, own, &row, &bad))
        ;
    return !bad;
}

bool wal_payload_valid(const wal_record *r)
{
    wire_cursor c = wire_read(r->payload);
    switch (r->type) {
    case WAL_SERIES: return series_valid(c);
    case WAL_ROWS:   return rows_valid(c);
    case WAL_CHUNKS: return chunks_valid(c);
    case WAL_EXEMPLARS: return exemplars_valid(c);
    default:         return true; /* of a newer galen: a reader skips it */
    }
}
