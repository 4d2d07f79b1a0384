/* The setting cors_origins: the sites whose pages a browser lets talk to us. "*", or origins (https://app.example:8443)
 * separated by spaces. Pure. */
#ifndef SAFE_SCRIPT_ORIGINS_H
#define SAFE_SCRIPT_ORIGINS_H

#include <stdbool.h>

enum { ORIGINS_BYTES = 1023 };

/* What is wrong with a list, to follow its name: "holds https://a.example/, which is no origin"; NULL: nothing. `text`
 * has room for that. */
const char *origins_fault(const char *list, char *text, unsigned long size);

/* The list is "*". */
bool origins_any(const char *list);

/* The value of Access-Control-Allow-Origin for a request with this Origin: "*", the origin itself, or NULL for none. */
const char *origins_allow(const char *list, const char *origin);

#endif
