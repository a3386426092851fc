/* A log segment's records as a crash or a bad disk may leave them. The checksum would stop nearly every input,
 * so the payload decoders also get the bytes directly. */
#include "store/wal.h"
#include "base/fuzz.h"

static void decode(uint32_t type, str payload)
{
    wire_cursor c = wire_read(payload);
    label at[LABELS_MAX];
    wal_delta before = { 0 };
    wal_sample sample_read;
    size_t n;
    uint64_t id;
    bool bad;
    if (type == WAL_SERIES)
        while (wal_next_series(&c, &id, at, &n, &bad))
            assert(n > 0 && n <= LABELS_MAX);
    else
        while (wal_next_sample(&c, &before, &sample_read, &bad))
            ;
}

FUZZ(input)
{
    wal_record record;
    size_t used;
    for (str rest = input; wal_parse(rest, &record, &used) == WAL_WHOLE; rest = str_skip(rest, used))
        decode(record.type, record.payload);
    decode(WAL_SERIES, input);
    decode(WAL_SAMPLES, input);
}
