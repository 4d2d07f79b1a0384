/* The supervisor's orders, as a zygote and its like take them: SPAWN, one after the other. Believes the supervisor, and
 * ends with status 1 at whatever breaks the protocol. */
#ifndef SAFE_SCRIPT_ORDERS_H
#define SAFE_SCRIPT_ORDERS_H

#include "wire.h"

#include <stdbool.h>

/* Waits for the next order, whose descriptors are then the caller's. Returns false once the supervisor has gone. */
bool orders_next(int supervisor, struct wire_message *order);

#endif
