/* audit/segment_fuzz.c - whatever bytes a segment holds, splitting and parsing its lines must not fall over. */
#include "audit/segment.h"
#include "base/fuzz.h"

FUZZ(input)
{
    str rest = input, line;
    hash_chain chain = { { 0 } }, hash;
    uint64_t seq;
    segment_line l;
    audit_record r;

    while (str_split(&rest, '\n', &line)) {
        json_doc *doc = NULL;
        if (segment_parse_header(line, &seq, &chain)) {
            AUTO(buf_done) buf again = BUF_INIT(1024);
            segment_put_header(&again, seq, &chain);
            assert(buf_failed(&again) || str_eq(str_sub(buf_str(&again), 0, again.len - 1), line));
        }
        if (segment_split(line, &l) && segment_sealed(&l, &chain, &hash))
            chain = hash;
        if (segment_parse_record(line, &doc, &r, NULL) == OK)
            json_doc_free(doc);
    }
}
