/* A cheap look at a script's text: which modules does it seem to import? It decides nothing but which zygote is warmer
 * for it, so it may be wrong: what a string or a comment says counts as well, what is computed does not. Every byte is
 * a stranger's. Pure; time in proportion to the text, of which it reads the beginning only. */
#ifndef SAFE_SCRIPT_IMPORTS_H
#define SAFE_SCRIPT_IMPORTS_H

#include "environment.h"
#include "frames.h"

#include <stdint.h>

/* The number of the environment, among those that are warmer than the default one, that has the most of the script's
 * imports warm; of those that have as many the one with the fewest modules, of these the first; the default's where
 * none has any. */
uint32_t imports_choose(struct span source, const struct environment_offers *offers);

#endif
