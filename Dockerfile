# larder in a container.  `docker run IMAGE -m 64` and `docker run IMAGE memcached -m 64` both work.
FROM debian:12-slim AS build
WORKDIR /src
COPY scripts/setup scripts/setup
COPY scripts/lib scripts/lib
RUN scripts/setup && rm -rf /var/lib/apt/lists/*
COPY . .
RUN scripts/build release && strip build/release/larder

FROM debian:12-slim
RUN apt-get update \
  && apt-get install -y --no-install-recommends \
    libabsl20220623 libevent-core-2.1-7 libevent-pthreads-2.1-7 libsasl2-2 libsasl2-modules libssl3 \
  && rm -rf /var/lib/apt/lists/* \
  && groupadd --system --gid 11211 larder \
  && useradd --system --uid 11211 --gid larder --no-create-home --shell /usr/sbin/nologin larder
COPY --from=build /src/build/release/larder /usr/local/bin/larder
COPY scripts/lib/docker-entrypoint /usr/local/bin/docker-entrypoint
COPY LICENSE /usr/share/doc/larder/LICENSE
# Probes and hooks look for a process of this name.
RUN ln -s larder /usr/local/bin/memcached
USER 11211:11211
EXPOSE 11211
ENTRYPOINT ["docker-entrypoint"]
CMD ["memcached"]
