"""The first field of each line, counted by Spark on two cores; prints the most frequent."""

import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as f

spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
spark.sparkContext.setLogLevel("ERROR")
keys = spark.read.text(sys.argv[1]).select(f.split("value", " ", 2)[0].alias("k"))
for row in keys.groupBy("k").count().orderBy(f.desc("count"), "k").limit(20).collect():
    print(row["count"], row["k"])
spark.stop()
