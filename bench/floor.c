/* The floor under every server here: accept, write 2 KB, close; nothing is read or decided.
 *
 *   floor PORT        on 127.0.0.1, until it is killed
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER = 2048, BACKLOG = 1024 };

int main(int argc, char **argv)
{
    static char answer[ANSWER];
    struct sockaddr_in here = {.sin_family = AF_INET};
    int yes = 1;

    if (argc != 2) {
        fputs("usage: floor PORT\n", stderr);
        return 2;
    }
    memset(answer, '.', sizeof answer);
    here.sin_port = htons((unsigned short)atoi(argv[1]));
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) < 0 || listen(listener, BACKLOG) < 0) {
        perror("floor");
        return 1;
    }
    for (;;) {
        int client = accept(listener, NULL, NULL);
        if (client < 0)
            continue;
        if (send(client, answer, sizeof answer, MSG_NOSIGNAL) < 0)
            perror("floor: send");
        close(client);
    }
}
