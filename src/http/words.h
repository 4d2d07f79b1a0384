/* What a run record says of layers and denials, worded from the facts. Shared by the front and the command line's
 * client. */
#ifndef SAFE_SCRIPT_WORDS_H
#define SAFE_SCRIPT_WORDS_H

#include "jail.h"
#include "record.h"
#include "run.h"

/* Holds the texts; must live as long as the record is used. */
struct record_words {
    const char *layers[LAYER_COUNT];
    char what[DENIALS_KEPT][96], hint[DENIALS_KEPT][192];
    struct record_denial denied[DENIALS_KEPT + 1]; /* and that there were more */
};

/* Words facts into *words and points record's layers and denied there. */
void record_words_fill(struct record_words *words, const struct facts *facts, struct record *record);

#endif
