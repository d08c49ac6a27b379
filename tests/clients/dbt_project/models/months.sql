{{ config(materialized="incremental", incremental_strategy="insert_overwrite", partitioned_by=["month"]) }}
SELECT count(*) AS flights, month FROM flights.flights
{% if is_incremental() %} WHERE month > (SELECT max(month) FROM {{ this }}) {% else %} WHERE month < 3 {% endif %}
GROUP BY month
