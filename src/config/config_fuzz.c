#include "base/fuzz.h"
#include "config/config.h"

FUZZ(input)
{
    yaml_doc *doc;
    err e;
    if (yaml_parse(input, "fuzz.yml", &doc, &e) == OK)
        yaml_doc_free(doc);
}
