#include "origins.h"

#include "scope.h"

#include <stdio.h>
#include <string.h>

static const char spaces[] = " ";

/* scheme "://" host [ ":" port ], in lower case as browsers send it. */
static bool is_origin(const char *text, size_t length)
{
    static const char *const schemes[] = {"https://", "http://"};
    for (size_t i = 0; i < COUNT(schemes); i++) {
        size_t scheme = strlen(schemes[i]);
        if (length > scheme && strncmp(text, schemes[i], scheme) == 0)
            return strspn(text + scheme, "abcdefghijklmnopqrstuvwxyz0123456789.-_:[]") >= length - scheme;
    }
    return false;
}

const char *origins_fault(const char *list, char *text, unsigned long size)
{
    if (strlen(list) > ORIGINS_BYTES)
        return "is too long";
    if (origins_any(list))
        return NULL;
    for (const char *at = list; *(at += strspn(at, spaces));) {
        size_t length = strcspn(at, spaces);
        if (!is_origin(at, length)) {
            snprintf(text, size, "holds \"%.*s\", which is no origin (https://HOST[:PORT], in lower case, no path)",
                     length < 200 ? (int)length : 200, at);
            return text;
        }
        at += length;
    }
    return NULL;
}

bool origins_any(const char *list)
{
    return strcmp(list, "*") == 0;
}

const char *origins_allow(const char *list, const char *origin)
{
    if (!origin || !*list)
        return NULL;
    if (origins_any(list))
        return list;
    for (const char *at = list; *(at += strspn(at, spaces));) {
        size_t length = strcspn(at, spaces);
        if (strlen(origin) == length && strncmp(at, origin, length) == 0)
            return origin;
        at += length;
    }
    return NULL;
}
