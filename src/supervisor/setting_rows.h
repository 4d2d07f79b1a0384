/* The rows of the settings, for those who set them (settings.c) and those who print them (setting_pages.c). */
#ifndef SAFE_SCRIPT_SETTING_ROWS_H
#define SAFE_SCRIPT_SETTING_ROWS_H

#include "settings.h"

enum setting_kind {
    KIND_TEXT,
    KIND_ORIGINS,
    KIND_SWITCH,
    KIND_ENGINE,
    KIND_LIST,
    KIND_COUNT,
    KIND_MILLISECONDS,
    KIND_BYTES,
    KIND_LEVEL,
    KIND_FORMAT
};

/* One setting. `--grace-ms`, `SAFE_SCRIPT_GRACE_MS` and `grace_ms` in [server] all come from its key. */
struct setting_row {
    const char *key;
    enum setting_kind kind;
    size_t offset;
    const char *initial; /* as a person would write it; NULL: chosen from the machine */
    uint64_t least, most;
    const char *help;
    bool live; /* SIGHUP takes a new value; else only a restart does */
};

extern const struct setting_row setting_rows[];
extern const size_t setting_row_count;
/* What a section [environment NAME] may have, beside limits; offsets are of struct environment_settings. */
extern const struct setting_row environment_rows[];
extern const size_t environment_row_count;

/* The unit of a kind that is a number. */
enum unit setting_unit(enum setting_kind kind);

/* The words that a kind takes, NULL at the end; NULL: it is no choice. */
const char *const *setting_choices(enum setting_kind kind);

#endif
