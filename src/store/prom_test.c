#include "store/import.h"
#include "store/fixture.h"
#include "base/hash.h"
#include "base/test.h"

/* testdata/prometheus is a block that Prometheus 2.42 wrote of what a remote write of ours had told it. */
#define BLOCK "testdata/prometheus/01M80C6CY9H2R932D5057V9CKT"
#define FIRST INT64_C(1700000000000)

static prom_block *opened(void)
{
    prom_block *b = NULL;
    err e = { 0 };
    CHECK_OK(prom_block_open(BLOCK, &b, &e), e);
    return b;
}

/* The chunks of the i-th series. */
static str series_at(const prom_block *b, size_t i, prom_chunk_metas *chunks)
{
    static label at[LABELS_MAX];
    labels l;
    uint64_t ref;
    err e = { 0 };
    CHECK_OK(prom_block_series(b, i, true, at, &l, &ref, chunks, &e), e);
    CHECK_EQ(l.len, 2);
    CHECK_STR(labels_get(l, STR("job")), "x");
    return labels_name(l);
}

TEST(prom_block_gives_back_series_in_order)
{
    static const char *const names[] = { "counted", "gone", "native_float", "native_int", "odd" };
    AUTO(prom_block_freep) prom_block *b = opened();
    prom_chunk_metas chunks = { 0 };
    CHECK_EQ(prom_block_series_count(b), COUNT_OF(names));
    for (size_t i = 0; i < COUNT_OF(names); i++)
        CHECK_STR(series_at(b, i, &chunks), names[i]);
    CHECK_EQ(prom_block_series(b, 5, true, (label[LABELS_MAX]){ 0 }, &(labels){ 0 }, &(uint64_t){ 0 }, &chunks, NULL), ERR_CORRUPT);
    vec_done(&chunks);
}

static sample_vec floats_of(const prom_block *b, size_t i)
{
    prom_chunk_metas chunks = { 0 };
    sample_vec v = { 0 };
    err e = { 0 };
    series_at(b, i, &chunks);
    for (size_t c = 0; c < chunks.len; c++) {
        prom_encoding encoding;
        str data;
        CHECK_OK(prom_block_chunk(b, chunks.at[c].ref, true, &encoding, &data, &e), e);
        CHECK_EQ(encoding, PROM_XOR);
        CHECK_OK(prom_chunk_samples(data, &v, &e), e);
        CHECK_EQ(vec_last(&v).t_ms, chunks.at[c].max_t_ms);
    }
    vec_done(&chunks);
    return v;
}

TEST(prom_chunk_gives_back_floats)
{
    static const double odd[] = { 0.0, -0.0, 1.5, 1e300, -1e-300, INFINITY, -INFINITY, 3, 3 };
    AUTO(prom_block_freep) prom_block *b = opened();
    sample_vec v = floats_of(b, 0);
    CHECK_EQ(v.len, 150);
    for (size_t i = 0; i < v.len; i++)
        CHECK(v.at[i].t_ms == FIRST + (int64_t)i * 15000 && v.at[i].v == (double)i);
    vec_done(&v);
    v = floats_of(b, 4); /* every width of the time codes, and signs, zeroes and infinities */
    CHECK_EQ(v.len, 18);
    for (size_t i = 0; i < COUNT_OF(odd); i++)
        CHECK_DOUBLE(v.at[i].v, odd[i]);
    CHECK_EQ(v.at[1].t_ms, FIRST + 100007);
    CHECK_EQ(v.at[5].t_ms, FIRST + 430000);
    CHECK_EQ(v.at[17].t_ms, FIRST + 1930000);
    vec_done(&v);
}

static histogram_vec histograms_of(const prom_block *b, size_t i, arena *a)
{
    prom_chunk_metas chunks = { 0 };
    histogram_vec v = { 0 };
    err e = { 0 };
    series_at(b, i, &chunks);
    for (size_t c = 0; c < chunks.len; c++) {
        prom_encoding encoding;
        str data;
        CHECK_OK(prom_block_chunk(b, chunks.at[c].ref, true, &encoding, &data, &e), e);
        CHECK_OK(prom_chunk_histograms(data, encoding, a, &v, &e), e);
    }
    vec_done(&chunks);
    return v;
}

TEST(prom_chunk_gives_back_whole_histograms)
{
    AUTO(prom_block_freep) prom_block *b = opened();
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    histogram_vec v = histograms_of(b, 3, &a);
    double p[4] = { 1, 2, 0, 5 };
    CHECK_EQ(v.len, 8);
    for (int i = 0; i < 7; i++) {
        const histogram *h = v.at[i].h;
        double total = 3;
        for (int j = 0; j < 4; j++)
            total += p[j] += i;
        CHECK_EQ(v.at[i].t_ms, FIRST + i * 15000);
        CHECK(h->schema == 3 && h->zero_threshold == 0.001 && h->integer && h->zero_count == 3 && h->sum == i * 1.5 && h->count == total);
        CHECK(h->positive.span_count == 2 && h->positive.spans[0].offset == -4 && h->positive.spans[1].length == 2 && h->positive.bucket_count == 4);
        CHECK(memcmp(h->positive.buckets, p, sizeof p) == 0);
        CHECK(h->negative.bucket_count == 1 && h->negative.spans[0].offset == -2 && h->negative.buckets[0] == 0);
        CHECK_EQ(h->reset, i ? HISTOGRAM_RESET_NO : HISTOGRAM_RESET_UNKNOWN);
        CHECK_EQ(histogram_check(h, NULL), OK);
    }
    CHECK(is_stale(v.at[7].h->sum) && v.at[7].h->positive.bucket_count == 0);
    vec_done(&v);
}

TEST(prom_chunk_gives_back_floating_histograms)
{
    AUTO(prom_block_freep) prom_block *b = opened();
    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    histogram_vec v = histograms_of(b, 2, &a);
    CHECK_EQ(v.len, 8);
    for (int i = 0; i < 8; i++) {
        const histogram *h = v.at[i].h;
        CHECK(h->schema == 0 && h->zero_threshold == 0.3 && !h->integer && h->zero_count == 1.5 && h->sum == i * 0.5 && h->count == i * 2 + 1.5);
        CHECK(h->positive.bucket_count == 2 && h->positive.buckets[0] == i && h->positive.buckets[1] == i && h->negative.bucket_count == 0);
        CHECK_EQ(h->reset, i ? HISTOGRAM_RESET_NO : HISTOGRAM_RESET_UNKNOWN);
    }
    vec_done(&v);
}

TEST(prom_chunk_refuses_what_is_cut)
{
    AUTO(prom_block_freep) prom_block *b = opened();
    prom_chunk_metas chunks = { 0 };
    for (size_t i = 0; i < prom_block_series_count(b); i++) {
        prom_encoding encoding;
        str data;
        series_at(b, i, &chunks);
        CHECK_EQ(prom_block_chunk(b, chunks.at[0].ref, true, &encoding, &data, NULL), OK);
        for (size_t len = 0; len + 1 < data.len; len++) {
            AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
            sample_vec v = { 0 };
            histogram_vec h = { 0 };
            char *cut = mem_dup(len ? data.ptr : "", MAX(len, 1)); /* so that reading on is seen */
            CHECK(cut);
            CHECK_EQ(encoding == PROM_XOR ? prom_chunk_samples(str_of(cut, len), &v, NULL) : prom_chunk_histograms(str_of(cut, len), encoding, &a, &h, NULL), ERR_CORRUPT);
            mem_free(cut);
            vec_done(&v);
            vec_done(&h);
        }
    }
    vec_done(&chunks);
}

static void put_be(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (24 - 8 * i));
}

TEST(prom_block_knows_what_was_deleted)
{
    /* series 7, from -1 to 300 */
    uint8_t bytes[] = { 0x01, 0x30, 0xba, 0x30, 1, 7, 1, 0xd8, 0x04, 0, 0, 0, 0 };
    put_be(bytes + 9, hash_crc32c(bytes + 5, 4));
    prom_block b = { 0 };
    err e = { 0 };
    str all = str_of((const char *)bytes, sizeof bytes);
    CHECK_OK(prom_block_parse_tombstones(&b, all, true, &e), e);
    CHECK(prom_block_deleted(&b, 7, -1) && prom_block_deleted(&b, 7, 300));
    CHECK(!prom_block_deleted(&b, 7, 301) && !prom_block_deleted(&b, 7, -2) && !prom_block_deleted(&b, 8, 0));
    vec_done(&b.deleted);
    bytes[7] ^= 1;
    CHECK_EQ(prom_block_parse_tombstones(&b, all, true, &e), ERR_CORRUPT);
    vec_done(&b.deleted);
}

TEST(prom_block_notices_a_flipped_bit_in_its_index)
{
    AUTO(buf_done) buf index = BUF_INIT(1u << 20);
    CHECK_EQ(file_read(BLOCK "/index", &index, NULL), OK);
    prom_chunk_metas chunks = { 0 };
    size_t noticed = 0;
    for (size_t i = 0; i < index.len; i++) {
        prom_block b = { .index = buf_str(&index) };
        index.ptr[i] ^= 4;
        err_kind k = prom_block_parse_index(&b, true, NULL);
        for (size_t s = 0; !k && s < prom_block_series_count(&b); s++)
            k = prom_block_series(&b, s, true, (label[LABELS_MAX]){ 0 }, &(labels){ 0 }, &(uint64_t){ 0 }, &chunks, NULL);
        noticed += k != OK;
        index.ptr[i] ^= 4;
        vec_done(&b.symbols);
    }
    vec_done(&chunks);
    CHECK(noticed > index.len / 3); /* the rest are posting lists that galen does not read, and padding */
}

TEST(import_takes_in_a_data_directory_of_prometheus)
{
    store *s = open_with((store_options){ .dir = test_dir(), .retention_ms = INT64_C(1) << 53 });
    AUTO(importer_freep) importer *i = NULL;
    import_receipt told;
    bool log;
    err e = { 0 };
    CHECK_OK(importer_open(s, &i, &e), e);
    CHECK_OK(import_prometheus(i, "testdata/prometheus", &log, &e), e);
    CHECK_OK(importer_finish(i, &told, &e), e);
    CHECK_EQ(told.samples, 178);
    CHECK_EQ(told.series, 5);
    CHECK_EQ(told.histograms, 16);
    CHECK_EQ(told.left_out, 0);
    CHECK(!log);
    CHECK_EQ(import_prometheus(i, test_dir(), &log, &e), ERR_NOT_FOUND);
    store_selection *sel;
    sample_vec v = { 0 };
    CHECK_OK(store_select(s, &(matcher){ METRIC_NAME, STR("counted"), MATCH_EQ, NULL }, 1, INT64_MIN, INT64_MAX, NULL, &sel, &e), e);
    CHECK_EQ(store_select_len(sel), 1);
    CHECK_OK(store_select_samples(sel, 0, &v, &e), e);
    CHECK_EQ(v.len, 150);
    vec_done(&v);
    store_select_free(sel);

    AUTO(arena_done) arena a = ARENA_INIT(1u << 20);
    AUTO(prom_block_freep) prom_block *b = opened();
    histogram_vec want = histograms_of(b, 3, &a), got = { 0 };
    CHECK_OK(store_select(s, &(matcher){ METRIC_NAME, STR("native_int"), MATCH_EQ, NULL }, 1, FIRST + 15000, INT64_MAX, NULL, &sel, &e), e);
    CHECK(store_select_len(sel) == 1 && store_select_has_histograms(sel, 0));
    CHECK_OK(store_select_histograms(sel, 0, &a, &got, &e), e);
    CHECK_EQ(got.len, want.len - 1);
    for (size_t n = 0; n < got.len; n++)
        CHECK(got.at[n].t_ms == want.at[n + 1].t_ms && histogram_eq(got.at[n].h, want.at[n + 1].h));
    CHECK_EQ(store_select_samples(sel, 0, &v, &e), OK);
    CHECK_EQ(v.len, 0);
    vec_done(&want);
    vec_done(&got);
    store_select_free(sel);
    close_store(s);
}
