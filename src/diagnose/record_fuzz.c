/* What stands in state.db may have been written by a later galen, or by a disk that lies. */
#include "base/fuzz.h"
#include "diagnose/record.h"

FUZZ(input)
{
    AUTO(incident_record_freep) incident_record *r = NULL;
    AUTO(buf_done) buf b = BUF_INIT(INCIDENT_JSON_MAX);
    if (incident_record_parse(input, &r, NULL))
        return;
    json_writer w = json_writer_to(&b);
    incident_json(&w, &r->view);
}
