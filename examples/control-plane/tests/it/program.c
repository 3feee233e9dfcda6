/* A tiny program for containers: serves HTTP, or does what its arguments say and ends.
 *   serve VERSION       answers each request at port 8080 with VERSION until SIGTERM, and what was asked by then
 *   print TEXT CODE     writes TEXT twice to stdout and ends with CODE
 *   crash TEXT CODE     writes TEXT to stderr and ends with CODE
 */
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static volatile sig_atomic_t stopping;
static void stop(int signal) { (void)signal; stopping = 1; }

static int serve(const char *version) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(8080)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&any, sizeof any) || listen(listener, 64)) return 1;
    printf("serving %s\n", version);
    char answer[256], request[4096];
    snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
             strlen(version), version);
    while (!stopping) {
        struct pollfd waiting = {.fd = listener, .events = POLLIN};
        if (poll(&waiting, 1, 100) != 1) continue;
        int peer = accept(listener, NULL, NULL);
        if (peer < 0) continue;
        if (read(peer, request, sizeof request) > 0 && write(peer, answer, strlen(answer)) < 0) stopping = 1;
        shutdown(peer, SHUT_WR);
        while (read(peer, request, sizeof request) > 0) {}
        close(peer);
    }
    return 0;
}

int main(int argc, char **argv) {
    signal(SIGTERM, stop);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc == 3 && !strcmp(argv[1], "serve")) return serve(argv[2]);
    if (argc == 4 && !strcmp(argv[1], "print")) {
        printf("%s\n%s\n", argv[2], argv[2]);
        return atoi(argv[3]);
    }
    if (argc == 4 && !strcmp(argv[1], "crash")) {
        fprintf(stderr, "%s\n", argv[2]);
        return atoi(argv[3]);
    }
    return 64;
}
