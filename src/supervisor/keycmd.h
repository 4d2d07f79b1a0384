/* safe-script key: makes, lists and revokes the keys of keys_file. */
#ifndef SAFE_SCRIPT_KEYCMD_H
#define SAFE_SCRIPT_KEYCMD_H

#include "settings.h"

/* `rest`: "new NAME [FIELD=VALUE …]", "list" or "revoke NAME". A new key goes to standard output, alone; it is nowhere
 * else. Returns an exit status: 0, 1 when it cannot be done, 2 for usage. */
int keycmd(const struct settings *settings, const struct rest *rest);

#endif
