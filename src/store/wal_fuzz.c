/* A log segment's records as a crash or a bad disk may leave them. The checksum would stop nearly every input,
 * so the payload decoders also get the bytes directly. */
#include "store/wal.h"
#include "base/fuzz.h"

FUZZ(input)
{
    wal_record record;
    size_t used;
    for (str rest = input; wal_parse(rest, &record, &used) == WAL_WHOLE; rest = str_skip(rest, used))
        (void)wal_payload_valid(&record);
    static const wal_type types[] = { WAL_SERIES, WAL_ROWS, WAL_CHUNKS, WAL_EXEMPLARS };
    for (size_t i = 0; i < COUNT_OF(types); i++)
        (void)wal_payload_valid(&(wal_record){ types[i], input });
}
