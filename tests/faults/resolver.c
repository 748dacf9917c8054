/* Looks up names that end with ".mesh.test": they are 127.0.0.1, cannot be found, or are never found, by the word in a file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int word_begins_with(char letter) {
    const char *path = getenv("PENSTOCK_RESOLVER");
    FILE *file = path ? fopen(path, "re") : NULL;
    int found = file ? fgetc(file) : EOF;
    if (file) fclose(file);
    return found == letter;
}

int getaddrinfo(const char *restrict node, const char *restrict service, const struct addrinfo *restrict hints, struct addrinfo **restrict found) {
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    static const char end[] = ".mesh.test";
    if (!real) real = (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))dlsym(RTLD_NEXT, "getaddrinfo");
    size_t length = node ? strlen(node) : 0;
    if (length < sizeof end || strcmp(node + length - sizeof end + 1, end)) return real(node, service, hints, found);
    while (word_begins_with('h')) usleep(10000);
    return word_begins_with('f') ? EAI_AGAIN : real("127.0.0.1", service, hints, found);
}
