/* An environment: an interpreter, its packages and what is warm of them. The supervisor has the table of them; to the
 * front each is its number there, which is never another's as long as the server lives. */
#ifndef SAFE_SCRIPT_ENVIRONMENT_H
#define SAFE_SCRIPT_ENVIRONMENT_H

enum { ENVIRONMENT_DEFAULT, ENVIRONMENTS_MOST = 16 };

#endif
