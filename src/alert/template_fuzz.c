/* alert/template_fuzz.c - rule files are written by people and programs: no template may crash or hang us. */
#include "alert/template.h"
#include "base/fuzz.h"

FUZZ(input)
{
    static const label l[] = { { STR_INIT("job"), STR_INIT("chat") } };
    AUTO(buf_done) buf out = BUF_INIT(TEMPLATE_MAX_OUTPUT);
    template_data d = { .labels = { l, 1 }, .value = 1.5, .external_url = STR("http://127.0.0.1:9600") };
    (void)template_expand(input, &d, &out, NULL);
}
