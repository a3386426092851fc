/* watch/process/process_log.h - where a supervised engine's output goes, and how it is kept from filling the disk. */
#pragma once
#include "base/base.h"

/* Open for appending (created 0640). Returns the descriptor, or -1 with *e. */
int process_log_open(const char *path, err *e);
/* If the file is larger than max_bytes: copy it to path.1 (replacing an older one) and cut it to nothing. The
 * engine, which appends, goes on at the new end. ERR_IO leaves the log as it is. */
err_kind process_log_trim(const char *path, int64_t max_bytes, err *e);
/* "replica:chat/127.0.0.1:8000" -> "chat-127.0.0.1_8000.log": no separators, nothing hidden. */
void process_log_name(char out[256], str id);
