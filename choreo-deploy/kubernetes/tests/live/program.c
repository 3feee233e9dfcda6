/* A tiny program for containers: serves HTTP, or does what its arguments say and ends.
 *   (no arguments)      answers every connection at port 8080, until SIGTERM
 *   serve PORT          the same at another port
 *   crash TEXT CODE     writes TEXT to stderr and ends with CODE
 *   print TEXT CODE     writes TEXT to stdout and ends with CODE
 *   wait                sleeps until it is stopped
 */
#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void stop(int signal) { (void)signal; _exit(0); }

int main(int argc, char **argv) {
    signal(SIGTERM, stop);
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 3 && (!strcmp(argv[1], "crash") || !strcmp(argv[1], "print"))) {
        fprintf(argv[1][0] == 'c' ? stderr : stdout, "%s\n", argv[2]);
        return atoi(argv[3]);
    }
    int port = 8080;
    if (argc > 2 && !strcmp(argv[1], "serve")) port = atoi(argv[2]);
    else if (argc > 1) for (;;) pause();
    int listener = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&any, sizeof any) || listen(listener, 64)) return 1;
    printf("listening\n");
    for (;;) {
        int peer = accept(listener, NULL, NULL);
        const char *answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
        char request[1024];
        if (peer < 0) continue;
        if (read(peer, request, sizeof request) > 0 && write(peer, answer, strlen(answer)) < 0) {}
        close(peer);
    }
}
