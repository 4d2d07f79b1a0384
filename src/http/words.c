#include "words.h"

void record_words_fill(struct record_words *words, const struct facts *facts, struct record *record)
{
    const struct jail_plan plan = {.layers = facts->layers};
    record->layers = words->layers;
    record->layer_count = 0;
    for (unsigned i = 0; i < LAYER_COUNT; i++) {
        if (facts->layers & LAYER_BIT(i))
            words->layers[record->layer_count++] = layer_names[i];
    }
    record->denied = words->denied;
    record->denied_count = facts->denials < DENIALS_KEPT ? facts->denials : DENIALS_KEPT;
    for (size_t i = 0; i < record->denied_count; i++) {
        jail_denial_text(&facts->denied[i], &plan, words->what[i], sizeof words->what[i], words->hint[i],
                         sizeof words->hint[i]);
        words->denied[i] = (struct record_denial){words->what[i], facts->denied[i].count, words->hint[i]};
    }
    if (facts->denials_cut)
        words->denied[record->denied_count++] =
            (struct record_denial){"more calls", 0, "denied so often that what came later was refused uncounted"};
}
