/* Text of the tables in a manual page: pure; what it is given was written by us. */
#ifndef SAFE_SCRIPT_TROFF_H
#define SAFE_SCRIPT_TROFF_H

#include <stddef.h>

enum { TROFF_LINE = 1024 };

/* The text as a line of a page's source: nothing in it is taken for a request or an escape, and its hyphens are the
 * minus signs that options are typed with. Returns line. */
char *troff_line(const char *text, char line[TROFF_LINE]);

#endif
