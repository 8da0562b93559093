"""A DNS server for one name: `names.py ADDRESS NAME ANSWER`. It knows no other name, and writes a line when it listens."""

import socket
import struct
import sys

A, NO_SUCH_NAME, RESPONSE = 1, 3, 0x8580


def main(address, name, answer):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind((address, 53))
    print("listening", flush=True)
    while True:
        query, peer = server.recvfrom(4096)
        server.sendto(answered(query, name, answer), peer)


def answered(query, name, answer):
    end = query.index(0, 12)
    question = query[12 : end + 5]
    labels, at = [], 12
    while at < end:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    known = ".".join(labels).lower() == name
    record = b""
    # The name has no other record, such as AAAA.
    if known and struct.unpack("!H", question[-4:-2])[0] == A:
        record = struct.pack("!HHHIH", 0xC00C, A, 1, 5, 4) + socket.inet_aton(answer)
    code = RESPONSE | (0 if known else NO_SUCH_NAME)
    return query[:2] + struct.pack("!HHHHH", code, 1, 1 if record else 0, 0, 0) + question + record


if __name__ == "__main__":
    main(*sys.argv[1:])
