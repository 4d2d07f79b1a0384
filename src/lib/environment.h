/* An environment: an interpreter, its packages and what is warm of them. The supervisor has the table of them and gives
 * it to the front as a memory file; to both an environment is its row's number, which is never another's as long as the
 * server lives. A row without a name is a tier: a zygote of some environment's with fewer modules, for scripts that
 * need no more; the front may have a run put there, and learns of it as of that environment. */
#ifndef SAFE_SCRIPT_ENVIRONMENT_H
#define SAFE_SCRIPT_ENVIRONMENT_H

#include "limit.h"

#include <stdbool.h>

enum {
    ENVIRONMENT_DEFAULT,    /* its number: what a request gets that names none */
    ENVIRONMENTS_MOST = 16, /* that there can be in a server's life */
    ENVIRONMENT_TIERS = 2,  /* of all of them together */
    ENVIRONMENT_ROWS = ENVIRONMENTS_MOST + ENVIRONMENT_TIERS,
    ENVIRONMENT_NAME = 32, /* bytes of a name: small letters, digits, "-" and "_" */
    ENVIRONMENT_MODULES = 1024,
};

enum environment_state { ENVIRONMENT_DOWN, ENVIRONMENT_WARMING, ENVIRONMENT_UP, ENVIRONMENT_FAILED };

/* A row, as the front has it. */
struct environment_offer {
    char name[ENVIRONMENT_NAME + 1];
    bool offered;                      /* a request may name it; else it was, or it is a tier, or there is none */
    bool warmer;                       /* for scripts that name none it is the default, but with these modules warm: */
    char modules[ENVIRONMENT_MODULES]; /* the first parts of their names, with a blank after each */
    struct limits limits;
};

struct environment_offers {
    struct environment_offer rows[ENVIRONMENT_ROWS];
};

#endif
