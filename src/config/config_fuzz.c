#include "base/fuzz.h"
#include "config/config.h"

FUZZ(input)
{
    yaml_doc *doc;
    err e;
    if (yaml_parse(input, "fuzz.yml", &doc, &e))
        return;
    AUTO(buf_done) buf out = BUF_INIT(16u << 20);
    yaml_write_shown(doc, &out);
    yaml_doc_free(doc);
}
