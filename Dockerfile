# A CPU image in which `s2s` runs as an ordinary user. Build it in a clone: docker build -t seq2seq-harness .
# Results stay on your disk, and are yours:
#   mkdir -p runs results
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/results:/home/s2s/work/results" -v "$PWD/runs:/home/s2s/work/runs" seq2seq-harness run masking
FROM python:3.11-slim-bookworm

ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_NUM_THREADS=1

RUN useradd --create-home s2s
WORKDIR /home/s2s/source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY harness harness
COPY variants variants
COPY studies studies
RUN pip install -c constraints.txt .

RUN mkdir -p /home/s2s/work/runs /home/s2s/work/results && chmod -R a+rwX /home/s2s
USER s2s
ENV HOME=/home/s2s \
    USER=s2s
WORKDIR /home/s2s/work
ENTRYPOINT ["s2s"]
CMD ["list"]
