/* CSV and the exposition formats on their way into no store. */
#include "store/import.h"
#include "base/fuzz.h"

FUZZ(input)
{
    import_receipt told;
    for (int how = 0; how < 3; how++) {
        AUTO(importer_freep) importer *i = NULL;
        if (importer_open(NULL, &i, NULL))
            return;
        (void)!(how == 0 ? import_csv(i, input, NULL) : import_exposition(i, input, how == 1, NULL));
        (void)!importer_finish(i, &told, NULL);
    }
}
