/* face/asset.h - a file of the page as it lies in the binary. The table is made by embed.py. */
#pragma once
#include "base/base.h"

typedef struct asset_bytes { const char *at; size_t len; } asset_bytes;   /* len 0: there is no such form */
typedef struct asset {
    const char *path;      /* "/", "/assets/index-CpIhcXYy.css" */
    const char *type;
    const char *etag;      /* of the plain bytes, with quotes; served as a weak one, for all forms */
    bool hashed;           /* the name carries the content's hash: may be kept for ever */
    asset_bytes plain, gzip, br;
} asset;

extern const char assets_bytes[];
extern const asset assets[];
extern const size_t asset_count;
