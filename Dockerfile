# COS FTP Server as an image. conf/vsftpd.conf stays outside, readable for user 10001:
#
#   docker build -t cos-ftp-server .
#   docker run -d --name ftp --restart unless-stopped --stop-timeout 60 \
#     -p 2121:2121 -p 60000-60099:60000-60099 \
#     -v /srv/cos-ftp-server/vsftpd.conf:/etc/cos-ftp-server/vsftpd.conf:ro \
#     -v cos-ftp-log:/var/lib/cos-ftp-server/log --tmpfs /home/user0 \
#     cos-ftp-server
#
# In that file: passive_port = 60000,60099, masquerade_address = the address of the host, and for
# each account a home_dir that the container has (the --tmpfs). `docker kill -s HUP ftp` reads the
# file again, if it was changed in place: a mount follows the file, not its name.

FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md ./
COPY src src
RUN python -m venv /opt/cos-ftp-server \
    && /opt/cos-ftp-server/bin/pip install --no-cache-dir --disable-pip-version-check .

FROM python:3.13-slim
RUN useradd --uid 10001 --user-group --no-log-init \
        --home-dir /var/lib/cos-ftp-server --shell /usr/sbin/nologin cos-ftp \
    && install -d -o cos-ftp -g cos-ftp -m 750 \
        /var/lib/cos-ftp-server /var/lib/cos-ftp-server/log
COPY --from=build /opt/cos-ftp-server /opt/cos-ftp-server
ENV PATH=/opt/cos-ftp-server/bin:$PATH
USER 10001:10001
# A relative log_dir is here.
WORKDIR /var/lib/cos-ftp-server
# The defaults of listen_port and passive_port.
EXPOSE 2121 60000-65535
# Whether clients are greeted, at the default listen_port.
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s \
    CMD ["python", "-c", "import ftplib; ftplib.FTP().connect('127.0.0.1', 2121, timeout=5)"]
# SIGTERM, docker's default, drains: give it time with --stop-timeout.
ENTRYPOINT ["cos-ftp-server"]
CMD ["serve", "--config", "/etc/cos-ftp-server/vsftpd.conf"]
