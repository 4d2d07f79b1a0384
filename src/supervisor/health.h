/* safe-script health: whether the server that these settings describe is ready; for containers, whose images have no
 * other client to ask with. */
#ifndef SAFE_SCRIPT_HEALTH_H
#define SAFE_SCRIPT_HEALTH_H

#include "settings.h"

/* Asks GET /readyz at the first address that does not speak TLS (where all do: whether anybody listens) and prints what
 * it said. Returns 0 when it is ready, 1 when it is not or nobody answers within some seconds. */
int health(const struct settings *settings);

#endif
